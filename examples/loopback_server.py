"""An OpenAI-compatible server that answers on this machine without a model: for trying things out, and for the tests.

    python examples/loopback_server.py --port 8400
    winnow synthesize CORPUS evol-instruct --model http://127.0.0.1:8400/v1#loopback

Answers are deterministic: an instruction to be evolved gets a condition added, two instructions to be compared are
"Not Equal", anything else gets an answer of a few sentences, in Chinese where the question is Chinese.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import re
import threading
from collections.abc import Callable
from typing import Any

from aiohttp import web

Body = dict[str, Any]
Reply = str | Body | web.Response
"""A text, the `message` and `finish_reason` of a choice, or a whole response."""

CONDITIONS = (
    ("Name two reasons and one exception.", "请说出两个理由和一个例外。"),
    ("Write for a reader who is twelve years old.", "请写给一位十二岁的读者。"),
    ("Give one worked example with numbers.", "请用数字举一个完整的例子。"),
    ("Say which step most people get wrong.", "请指出多数人会做错的一步。"),
)


def plausible(body: Body) -> str:
    """What the server answers when nothing else is asked of it."""
    text = body["messages"][-1]["content"]
    chinese = bool(re.search(r"[\u4e00-\u9fff]", text))
    if "#Second Instruction#" in text:
        return "Not Equal"
    given = re.search(r"#Given Instruction#\n(.*)\n\n#(?:Rewritten|Created) Instruction#", text, re.DOTALL)
    number = int(hashlib.sha256(text.encode()).hexdigest(), 16)
    if given:
        return f"{given.group(1)} {CONDITIONS[number % len(CONDITIONS)][chinese]}"
    topic = re.sub(r"\s+", " ", text)[:60]
    if chinese:
        return f"关于“{topic}”：先收集材料，再逐条核对，最后写出结论，让别人也能重做（编号{number % 9973}）。"
    return (
        f"On the question '{topic}': start from what is known, check each claim against one source, and write the "
        f"result down in three short steps, so that somebody else can repeat it (reference {number % 9973})."
    )


class Loopback:
    """The server. `respond(body, n)` decides the answer to the n-th chat request, counting from 1."""

    def __init__(
        self,
        respond: Callable[[Body, int], Reply] | None = None,
        *,
        model: str = "loopback",
        key: str | None = None,
        latency_seconds: float = 0.0,
    ) -> None:
        self.respond = respond or (lambda body, _: plausible(body))
        self.model = model
        self.key = key
        self.latency_seconds = latency_seconds
        self.bodies: list[Body] = []
        """Every chat request that came in."""
        self.address = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def requests(self) -> int:
        """Chat requests so far, refused ones included."""
        return len(self.bodies)

    @property
    def spec(self) -> str:
        """What to give as the model."""
        return f"{self.address}#{self.model}"

    async def start(self, port: int = 0) -> None:
        """Listen on a free port of the loopback interface (or on `port`)."""
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.address = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    def __enter__(self) -> Loopback:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.start(), self._loop).result()
        return self

    def __exit__(self, *exception: object) -> None:
        asyncio.run_coroutine_threadsafe(self.stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        number = len(self.bodies)
        if self.key is not None and request.headers.get("Authorization") != f"Bearer {self.key}":
            return refusal(401, "Incorrect API key provided: " + request.headers.get("Authorization", "")[7:])
        if body["model"] != self.model:
            return refusal(404, f"The model `{body['model']}` does not exist.")
        await asyncio.sleep(self.latency_seconds)
        reply = self.respond(body, number)
        return reply if isinstance(reply, web.Response) else _completion(body, reply)

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": self.model, "object": "model"}]})


def refusal(status: int, message: str, code: str | None = None, **headers: str) -> web.Response:
    """An error as OpenAI words it."""
    error = {"message": message, "type": "error", "code": code}
    return web.json_response({"error": error}, status=status, headers=headers)


def _completion(body: Body, reply: str | Body) -> web.Response:
    message = {"content": reply} if isinstance(reply, str) else {k: v for k, v in reply.items() if k != "finish_reason"}
    reason = "stop" if isinstance(reply, str) else reply.get("finish_reason", "stop")
    sent = sum(len(m["content"]) for m in body["messages"]) // 4
    received = len(message.get("content") or "") // 4
    return web.json_response(
        {
            "id": "chatcmpl-loopback",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}],
            "usage": {"prompt_tokens": sent, "completion_tokens": received, "total_tokens": sent + received},
        }
    )


async def _serve(port: int, latency_seconds: float) -> None:
    server = Loopback(latency_seconds=latency_seconds)
    await server.start(port)
    print(f"listening on {server.address}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="0 = any free port")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    options = parser.parse_args()
    try:
        asyncio.run(_serve(options.port, options.latency))
    except KeyboardInterrupt:
        print("stopped")


if __name__ == "__main__":
    main()

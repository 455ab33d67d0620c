"""An OpenAI-compatible server that answers on this machine without a model: for trying things out, and for the tests.

    python examples/loopback_server.py --port 8400
    winnow synthesize CORPUS evol-instruct --model http://127.0.0.1:8400/v1#loopback

Answers are deterministic: an instruction to be evolved gets a condition added, two instructions to be compared are
"Not Equal", verdicts, lists, JSON and code come in the form that the prompt of a synthesizer asks for, and anything
else gets an answer of a few sentences, in Chinese where the question is Chinese. Raw prompts (Completions, for Magpie)
get another instruction each; with `--varied` so does a question that is asked again get another answer.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from aiohttp import web

Body = dict[str, Any]
Reply = str | Body | web.Response
"""A text, the `message` and `finish_reason` of a choice, or a whole response."""

Reader = Callable[[re.Match[str], str, int, bool], str]
"""The reply from what was found in a prompt, the prompt, a number that goes with it, and whether it is Chinese."""

CONDITIONS = (
    ("Name two reasons and one exception.", "请说出两个理由和一个例外。"),
    ("Write for a reader who is twelve years old.", "请写给一位十二岁的读者。"),
    ("Give one worked example with numbers.", "请用数字举一个完整的例子。"),
    ("Say which step most people get wrong.", "请指出多数人会做错的一步。"),
)
KINDS = ("Explain to a child", "Write a short letter about", "List five facts on", "Find the mistake in a claim about",
         "Plan a lesson on", "Compare two ways of learning", "Write a riddle about")  # fmt: skip
SUBJECTS = ("tides", "double-entry bookkeeping", "why bread rises", "prime numbers", "the water cycle", "vaccines",
            "bridges", "how birds find their way", "interest rates", "sorting a list", "volcanoes")  # fmt: skip
_COUNT = itertools.count()


def plausible(body: Body) -> str:
    """What the server answers when nothing else is asked of it."""
    if "prompt" in body:  # Completions: a raw text to go on with, as Magpie sends it
        return asked_out_of_nothing(body)
    text = body["messages"][-1]["content"]
    chinese = bool(re.search(r"[\u4e00-\u9fff]", text))
    said = "\n".join(message["content"] for message in body["messages"])
    number = int(hashlib.sha256(said.encode()).hexdigest(), 16)
    for asked, reply in SCRIPT:
        if found := re.search(asked, text, re.DOTALL):
            return reply(found, text, number, chinese)
    topic = re.sub(r"\s+", " ", text)[:60]
    if chinese:
        return f"关于“{topic}”：先收集材料，再逐条核对，最后写出结论，让别人也能重做（编号{number % 9973}）。"
    return (
        f"On the question '{topic}': start from what is known, check each claim against one source, and write the "
        f"result down in three short steps, so that somebody else can repeat it (reference {number % 9973})."
    )


def asked_out_of_nothing(body: Body) -> str:
    """An instruction, another one for each request, as its seed or else their number says."""
    number = body.get("seed")
    number = next(_COUNT) if number is None else number
    kind, subject = KINDS[number % len(KINDS)], SUBJECTS[number // len(KINDS) % len(SUBJECTS)]
    return f"{kind} {subject}" + (f", case {number}" if number >= len(KINDS) * len(SUBJECTS) else "") + "."


def _evolved(found: re.Match[str], text: str, number: int, chinese: bool) -> str:
    return f"{found[1]} {CONDITIONS[number % len(CONDITIONS)][chinese]}"


def _verdict(found: re.Match[str], text: str, number: int, chinese: bool) -> str:
    scores = (3, 4, 5, 5) if "advertisement" in text else (5, 7, 8, 9)
    return f"It does what was asked.\nScore: {scores[number % 4]}"


def _better(found: re.Match[str], text: str, number: int, chinese: bool) -> str:
    """The answer with the larger hash, so that the order in which they are shown does not matter."""
    first, second = (int(hashlib.sha256(answer.strip().encode()).hexdigest(), 16) for answer in found.groups())
    return json.dumps({"reason": "It says more.", "better": "A" if first > second else "B"})


def _graded(found: re.Match[str], text: str, number: int, chinese: bool) -> str:
    answers = re.split(r"#Answer \d+#\n", text)[1:]
    scores = [int(hashlib.sha256(answer.strip().encode()).hexdigest(), 16) % 10 + 1 for answer in answers]
    return json.dumps({"reason": "Compared with each other.", "scores": scores})


def _pairs_of(found: re.Match[str], text: str, number: int, chinese: bool) -> str:
    sentences = [s.strip() for s in re.split(r"(?<=[.。！？!?])\s*", found[2]) if len(s.strip()) > 12][: int(found[1])]
    question = "关于“{}”，有什么可以说的？" if chinese else "What is there to say about '{}'?"
    pairs = [{"question": question.format(s[:40].rstrip(" .。")), "answer": s} for s in sentences]
    return json.dumps(pairs, ensure_ascii=False)


def _listed(found: re.Match[str], text: str, number: int, chinese: bool) -> str:
    first, count = int(found[2]), int(found[1])
    return "\n".join(
        f"{n}. {KINDS[(number + n) % len(KINDS)]} {SUBJECTS[(number // 7 + n) % len(SUBJECTS)]}."
        for n in range(first, first + count)
    )


def _smaller(found: re.Match[str], text: str, number: int, chinese: bool) -> str:
    request = found[1].strip()[:80]
    asked = ("要做到“{}”，需要先知道什么？", "“{}”的第一步怎么做？") if chinese else (
        "What has to be known before this can be done: {}?", "How is the first step of this done: {}?"
    )  # fmt: skip
    return "\n".join(f"{n}. {one.format(request)}" for n, one in enumerate(asked, 1))


def _subtopics(found: re.Match[str], text: str, number: int, chinese: bool) -> str:
    names = ("基本概念", "测量方法", "常见错误", "历史", "实际应用") if chinese else (
        "basic notions", "measuring", "common mistakes", "history", "uses in practice"
    )  # fmt: skip
    count = int(found[1])
    return json.dumps([names[n % 5] + (f" {n // 5 + 1}" if n >= 5 else "") for n in range(count)], ensure_ascii=False)


def _reworded(found: re.Match[str], text: str, number: int, chinese: bool) -> str:
    """A prompt with one rule more."""
    return f"It is too short.\n\nNew Prompt:\n````\n{found[1].strip()}\nRule {number % 97}: be exact.\n````"


def _mistyped(found: re.Match[str], text: str, number: int, chinese: bool) -> str:
    return found[1].replace("the ", "teh ").replace("。", "，").replace("you", "u") + (" 谢谢" if chinese else " pls")


def _exercise(found: re.Match[str], text: str, number: int, chinese: bool) -> str:
    return (
        f"Write a function `shifted_{number % 9973}(numbers, by)` that returns a list with `by` added to every number "
        "of the list `numbers`. An empty list gives an empty list. Example: [1, 2] by 3 gives [4, 5]."
    )


def _asserts(found: re.Match[str], text: str, number: int, chinese: bool) -> str:
    cases = ("[1, 2], 3) == [4, 5]", "[], 1) == []", "[0], -1) == [-1]", "[5], 0) == [5]", "[1, 1], 1) == [2, 2]")
    return "```python\n" + "\n".join(f"assert {found[1] or 'shifted'}({case}" for case in cases) + "\n```"


def _solved(found: re.Match[str], text: str, number: int, chinese: bool) -> str:
    return f"Add to each number.\n```python\ndef {found[1]}(numbers, by):\n    return [n + by for n in numbers]\n```"


def _said(reply: str) -> Reader:
    return lambda found, text, number, chinese: reply


SCRIPT: tuple[tuple[str, Reader], ...] = (
    (r"#Second Instruction#\n.* (?:pls|谢谢)\n", _said("Equal")),
    (r"#Second Instruction#", _said("Not Equal")),
    (r"#Given Answer#\n(.*)\n\n#Rewritten Answer#", _evolved),
    (r"#Given Instruction#\n(.*)\n\n#(?:Rewritten|Created) Instruction#", _evolved),
    (r"\nScore: N\n", _verdict),
    (r"#Answer A#\n(.*)\n\n#Answer B#\n(.*)\Z", _better),
    (r"one score for each answer", _graded),
    (r"Write (\d+) different questions.*#Text#\n(.*)\Z", _pairs_of),
    (r'"faithful"', _said('{"reason": "It stands there.", "faithful": "yes", "relevant": "yes", "standalone": "yes"}')),
    (r"write (\d+) new ones, numbered on from (\d+)", _listed),
    (r"Yes / No", _said("No")),
    (r"Reply in this form alone, for each example:\nInput", _said("Input:\nOutput: It is done in three short steps.")),
    (r"smaller questions\..*numbered list alone.*#Request#\n(.*)\Z", _smaller),
    (r"Reply with a JSON list of (\d+) short texts", _subtopics),
    (r"whole new prompt in a fence.*#Prompt#\n(.*)\n\n#What Came of It#", _reworded),
    (r"#Instruction#\n(.*)\n\n#New Wording#", _mistyped),
    (r"programming exercise in Python", _exercise),
    (r"asserts alone.*#Exercise#(?:.*`(\w+)\()?", _asserts),
    (r"Solve the programming exercise.*#Tests#.*?assert (\w+)\(", _solved),
    (r"reply with exactly: No faults", _said("It names no example: add one where it says what to do.")),
    (r"#Text#\n(.{12,60}).*#Instruction#", lambda found, *_: f"Write what you know about: {found[1].strip()}"),
)
"""What stands in a prompt, and what is answered to it: the first that fits counts."""


class Loopback:
    """The server. `respond(body, n)` decides the answer to the n-th request, counting from 1.

    A request to Completions has a `prompt` where a chat has its `messages`.
    """

    def __init__(
        self,
        respond: Callable[[Body, int], Reply] | None = None,
        *,
        model: str = "loopback",
        key: str | None = None,
        latency_seconds: float = 0.0,
        varied: bool = False,
    ) -> None:
        self.respond = respond or (self._varied if varied else lambda body, _: plausible(body))
        self._asked: Counter[str] = Counter()
        self.model = model
        self.key = key
        self.latency_seconds = latency_seconds
        self.bodies: list[Body] = []
        """Every request that came in."""
        self.address = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def requests(self) -> int:
        """Requests so far, refused ones included."""
        return len(self.bodies)

    @property
    def spec(self) -> str:
        """What to give as the model."""
        return f"{self.address}#{self.model}"

    async def start(self, port: int = 0) -> None:
        """Listen on a free port of the loopback interface (or on `port`)."""
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/v1/chat/completions", self._answer)
        app.router.add_post("/v1/completions", self._answer)
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

    async def _answer(self, request: web.Request) -> web.Response:
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

    def _varied(self, body: Body, _: int) -> str:
        """As `plausible`, with a remark for a question that was asked before: a model at temperature 0.7, in small."""
        asked = json.dumps(body, sort_keys=True)
        reply = plausible(body)
        self._asked[asked] += 1
        again = self._asked[asked] - 1
        sampled = again and "prompt" not in body and body.get("temperature") != 0
        return f"{reply} Put in another way, number {again}: the same, but shorter." if sampled else reply

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": self.model, "object": "model"}]})


def refusal(status: int, message: str, code: str | None = None, **headers: str) -> web.Response:
    """An error as OpenAI words it."""
    error = {"message": message, "type": "error", "code": code}
    return web.json_response({"error": error}, status=status, headers=headers)


def _completion(body: Body, reply: str | Body) -> web.Response:
    message = {"content": reply} if isinstance(reply, str) else {k: v for k, v in reply.items() if k != "finish_reason"}
    reason = "stop" if isinstance(reply, str) else reply.get("finish_reason", "stop")
    raw = "prompt" in body
    sent = (len(body["prompt"]) if raw else sum(len(m["content"]) for m in body["messages"])) // 4
    received = len(message.get("content") or "") // 4
    said = {"text": message["content"]} if raw else {"message": {"role": "assistant", **message}}
    return web.json_response(
        {
            "id": "cmpl-loopback" if raw else "chatcmpl-loopback",
            "object": "text_completion" if raw else "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [{"index": 0, **said, "finish_reason": reason}],
            "usage": {"prompt_tokens": sent, "completion_tokens": received, "total_tokens": sent + received},
        }
    )


async def _serve(port: int, latency_seconds: float, varied: bool) -> None:
    server = Loopback(latency_seconds=latency_seconds, varied=varied)
    await server.start(port)
    print(f"listening on {server.address}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="0 = any free port")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--varied", action="store_true", help="another answer when the same question is asked again")
    options = parser.parse_args()
    try:
        asyncio.run(_serve(options.port, options.latency, options.varied))
    except KeyboardInterrupt:
        print("stopped")


if __name__ == "__main__":
    main()

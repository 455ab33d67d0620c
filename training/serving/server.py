"""An address that speaks as much of OpenAI's chat protocol as a conversation needs; on the loopback interface only."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from training.serving.pair import Pair

MOST_TOKENS = 512
"""Of an answer, unless the request says otherwise."""
LONGEST_BODY = 4 << 20


def listening(pair: Pair, names: dict[str, str], port: int) -> ThreadingHTTPServer:
    """A server that is not running yet.

    Args:
        pair: what answers.
        names: what the models are called -> `trained` or `base`.
        port: 0 for any free one.

    Raises:
        OSError: the port is taken.
    """

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            known = self.path.rstrip("/")
            if known.endswith("/models"):
                self._reply(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in names]})
            else:
                self._reply(200 if known.endswith("/health") else 404, {})

        def do_POST(self) -> None:
            told = self.headers.get("Content-Length") or "0"
            length = int(told) if told.isdecimal() else LONGEST_BODY + 1
            # A page elsewhere on the web may post text here without being asked, but not JSON.
            if "application/json" not in (self.headers.get("Content-Type") or "") or length > LONGEST_BODY:
                self.close_connection = True
                return self._refuse("send JSON of at most 4 MiB")
            body = self.rfile.read(length)
            if not self.path.rstrip("/").endswith("/chat/completions"):
                return self._reply(404, {"error": {"message": f"there is no {self.path}"}})
            try:
                self._reply(200, _completion(pair, names, json.loads(body)))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                self._refuse(str(error) or type(error).__name__)

        def _refuse(self, why: str) -> None:
            self._reply(400, {"error": {"message": why, "type": "invalid_request_error"}})

        def _reply(self, status: int, content: dict[str, Any]) -> None:
            body = json.dumps(content, ensure_ascii=False).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class names it so)
            """Say nothing."""

    return ThreadingHTTPServer(("127.0.0.1", port), Answering)


def _completion(pair: Pair, names: dict[str, str], asked: Any) -> dict[str, Any]:
    from jinja2.exceptions import TemplateError

    if not isinstance(asked, dict):
        raise ValueError("send a JSON object")
    if asked.get("stream"):
        raise ValueError("answers come whole: leave out stream")
    if asked.get("model") not in names:
        raise ValueError(f"there is no model {asked.get('model')!r}; there are {', '.join(names)}")
    most = asked.get("max_completion_tokens") or asked.get("max_tokens") or MOST_TOKENS
    try:
        written, prompt = pair.answer(
            names[asked["model"]],
            asked["messages"],
            most_tokens=int(most),
            temperature=float(asked.get("temperature") or 0),
            seed=int(asked.get("seed") or 0),
        )
    except TemplateError as error:
        raise ValueError(f"the chat template refuses it: {error}") from None
    return {
        "id": f"chatcmpl-{time.time_ns()}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": asked["model"],
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": written.answer},
                "finish_reason": written.finish_reason,
            }
        ],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": written.tokens,
            "total_tokens": prompt + written.tokens,
        },
    }

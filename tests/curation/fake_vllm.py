"""A stand-in for the program `vllm`, run by the tests of its supervision: `fake_vllm.py serve MODEL --port N ...`.

What it does is told by environment variables:
    FAKE_VLLM_LOG    file to which it appends a line per start and per request
    FAKE_VLLM_SAYS   it writes this to standard error and ends with status 1 instead of listening
    FAKE_VLLM_DIES   so many requests are answered, the next one kills it
    FAKE_VLLM_LIVES  how many of its lives end so (1)
"""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LOG = Path(os.environ["FAKE_VLLM_LOG"])


def option(name: str) -> str:
    return sys.argv[sys.argv.index(name) + 1]


def log(line: str) -> None:
    with LOG.open("a") as file:
        file.write(f"{line}\n")


class Handler(BaseHTTPRequestHandler):
    answers = 0

    def do_GET(self) -> None:
        if self.path == "/health":
            self._reply(200, {})
        elif self._is_allowed():
            model = {"id": option("--served-model-name"), "root": sys.argv[2], "max_model_len": 64}
            self._reply(200, {"object": "list", "data": [model]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        dies, lives = (int(os.environ.get(f"FAKE_VLLM_{name}", "1")) for name in ("DIES", "LIVES"))
        if "FAKE_VLLM_DIES" in os.environ and LOG.read_text().count("start ") <= lives and Handler.answers >= dies:
            os._exit(1)
        if not self._is_allowed():
            return
        Handler.answers += 1
        said = body["messages"][-1]["content"]
        log(f"request {said}")
        if said == "no template":
            self._reply(400, {"error": {"message": "you must provide a chat template if the tokenizer ..."}})
            return
        message = {"role": "assistant", "content": f"echo {said}"}
        self._reply(200, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})

    def _is_allowed(self) -> bool:
        allowed = self.headers.get("Authorization") == f"Bearer {os.environ['VLLM_API_KEY']}"
        if not allowed:
            self._reply(401, {"error": "Unauthorized"})
        return allowed

    def _reply(self, status: int, body: dict) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    assert os.environ["VLLM_API_KEY"] not in " ".join(sys.argv)
    log(f"start {os.getpid()} {' '.join(sys.argv[1:])}")
    if "FAKE_VLLM_SAYS" in os.environ:
        sys.exit(os.environ["FAKE_VLLM_SAYS"])
    ThreadingHTTPServer((option("--host"), int(option("--port"))), Handler).serve_forever()


if __name__ == "__main__":
    main()

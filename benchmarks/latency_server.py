"""An OpenAI-compatible endpoint that costs next to nothing: a fixed latency, 2 kB answers, and trouble on demand.

    python -m benchmarks.latency_server --latency 0.05 [--cap 100] [--busy 0.02] [--truncated 0.05]

A process of its own on a bare asyncio protocol, so that what is measured is the client. An answer depends on the body
alone. `GET /stats` tells what has come in so far, as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import time
from collections import Counter

WORDS = ("river", "stone", "meadow", "harbour", "lantern", "winter", "orchard", "signal", "copper", "valley", "paper")


class Endpoint:
    """What the connections share."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.latency: float = options.latency
        self.cap: float = options.cap
        """Answers a second at most; a request beyond that gets a 429 at once. 0 = no cap."""
        self.busy: float = options.busy
        """Share of requests that get a 429 for no reason."""
        self.truncated: float = options.truncated
        """Share of bodies whose answer is cut off."""
        self.counts: Counter[str] = Counter()
        self.bodies: set[bytes] = set()
        self.first = self.last = 0.0
        self._rng = random.Random(0)
        self._level, self._filled = self.cap, time.monotonic()

    def takes(self) -> bool:
        """Whether there is room for one more: a bucket of one second's worth."""
        if self.busy and self._rng.random() < self.busy:
            return False
        if not self.cap:
            return True
        now = time.monotonic()
        self._level = min(self.cap, self._level + (now - self._filled) * self.cap)
        self._filled = now
        if self._level < 1:
            return False
        self._level -= 1
        return True

    def answer(self, body: bytes) -> bytes:
        """A chat completion, as JSON."""
        digest = hashlib.sha256(body).digest()
        self.bodies.add(digest)
        self.counts["answered"] += 1
        self.last = time.monotonic()
        cut = digest[0] / 256 < self.truncated
        text = " ".join(WORDS[digest[n % 32] % len(WORDS)] for n in range(300))[: 900 if cut else 2_000]
        return json.dumps(
            {
                "id": digest[:8].hex(),
                "object": "chat.completion",
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": f"{digest[:4].hex()} {text}"},
                        "finish_reason": "length" if cut else "stop",
                    }
                ],
                "usage": {"prompt_tokens": len(body) // 4, "completion_tokens": len(text) // 4},
            }
        ).encode()


class Connection(asyncio.Protocol):
    """One connection; requests on it come one after another."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Collect a request."""
        self._received += data
        head, there, rest = self._received.partition(b"\r\n\r\n")
        if not there:
            return
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        if len(rest) >= length:
            self._received = rest[length:]
            self._reply(lines[0], rest[:length])

    def _reply(self, first: bytes, body: bytes) -> None:
        endpoint = self._endpoint
        if first.startswith(b"get /stats"):
            seconds = endpoint.last - endpoint.first
            stats = {"busy": 0, **endpoint.counts, "distinct": len(endpoint.bodies), "seconds": seconds}
            self._send(b"200 OK", json.dumps(stats).encode())
        elif first.startswith(b"get"):
            self._send(b"200 OK", b'{"data": [{"id": "m"}]}')
        else:
            endpoint.first = endpoint.first or time.monotonic()
            endpoint.counts["requests"] += 1
            if endpoint.takes():
                asyncio.get_running_loop().call_later(
                    endpoint.latency, lambda: self._send(b"200 OK", endpoint.answer(body))
                )
            else:
                endpoint.counts["busy"] += 1
                self._send(b"429 Too Many Requests\r\nRetry-After: 1", b'{"error": {"message": "slow down"}}')

    def _send(self, status: bytes, body: bytes) -> None:
        if not self._transport.is_closing():
            head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
            self._transport.write(head + body)  # type: ignore[attr-defined]


async def _serve(options: argparse.Namespace) -> None:
    endpoint = Endpoint(options)
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(endpoint), "127.0.0.1", options.port, backlog=1024
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    for name, default in (("latency", 0.05), ("cap", 0.0), ("busy", 0.0), ("truncated", 0.0)):
        parser.add_argument(f"--{name}", type=float, default=default)
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()

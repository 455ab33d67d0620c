"""Chat models: opened from a spec, answered from `calls.sqlite` where the call is known, asked with patience where not.

Specs: `openai:MODEL` | `http://HOST:PORT/v1#MODEL` (any OpenAI-compatible address) | `replay:FILE`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from curation.errors import ModelError
from curation.language_models.calls import Attempt, CallStore, call_key, rendered
from curation.language_models.completions import REPLAY, completion_of, cost_of
from curation.language_models.endpoints import GaveUpError, Note, Patience, RefusedError, Served
from curation.language_models.models import ChatRequest, Completion, without_secrets

SPECS = "openai:MODEL, http://HOST:PORT/v1#MODEL or replay:FILE"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Source(Protocol):
    """Where answers come from."""

    endpoint: str

    async def respond(self, request: ChatRequest, note: Note) -> dict[str, Any]:
        """The raw response in the shape of Chat Completions; raises GaveUpError for a call, ModelError for a run."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class KeptChat:
    """A chat model whose attempts are all kept and whose finished calls are never sent again."""

    def __init__(self, spec: str, model: str, source: Source, calls: CallStore | None, run: str) -> None:
        self.spec = spec
        self.model = model
        self._source = source
        self._calls = calls
        self.run = run
        """What attempts are recorded under."""
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def complete(self, request: ChatRequest) -> Completion:
        """One answer; equal requests at the same time are sent once.

        Raises:
            ModelError: nothing that is sent to this endpoint will be answered.
        """
        key = call_key(self.model, request)
        async with self._turns.setdefault(key, asyncio.Lock()):
            known = self._calls.lookup(key) if self._calls else None
            if known is not None:
                return replace(completion_of(known), cached=True)
            return await self._ask(request, key)

    async def close(self) -> None:
        """Let go of connections."""
        await self._source.close()

    async def _ask(self, request: ChatRequest, key: str) -> Completion:
        asked = rendered(self.model, request)

        def keep(**outcome: Any) -> None:
            if self._calls:
                self._calls.record(Attempt(key, self.model, self._source.endpoint, asked, self.run, **outcome))

        try:
            response = await self._source.respond(request, lambda reason: keep(error=reason))
        except GaveUpError as error:
            return Completion(None, error=str(error), refused=isinstance(error, RefusedError))
        completion = completion_of(response)
        cost, reason = cost_of(response, self._source.endpoint, self.model)
        keep(
            response=response,
            finish_reason=completion.finish_reason,
            input_tokens=completion.input_tokens,
            output_tokens=completion.output_tokens,
            cost_usd=cost,
            cost_reason=reason,
        )
        return completion


def open_chat_model(
    spec: str,
    *,
    calls: CallStore | None = None,
    run: str = "",
    concurrency: int = 16,
    patience: Patience | None = None,
) -> KeptChat:
    """A chat model from its spec; nothing is sent yet.

    Args:
        spec: `openai:MODEL`, `http://HOST:PORT/v1#MODEL` or `replay:FILE`.
        calls: where attempts are kept and finished calls are looked up; nothing is kept without it.
        run: what the attempts are recorded under.
        concurrency: requests in flight at most; one that waits for its next attempt does not count.
        patience: when to try again and when to give up.

    Raises:
        ModelError: unknown kind of spec, no key in the environment, or no such file.
    """
    kind, _, rest = spec.partition(":")
    model = model_name(spec)
    source: Source
    if kind == "replay":
        source = Replay(Path(rest))
    elif kind == "openai":
        key = os.environ.get("OPENAI_API_KEY")
        if not key:
            raise ModelError(
                f"{spec!r} needs a key, and OPENAI_API_KEY is not set.",
                fix="set OPENAI_API_KEY in the environment of this command; it is never stored or logged",
            )
        source = Served(model, None, key, concurrency, patience or Patience())
    else:
        address = spec.partition("#")[0]
        source = Served(model, address, _key_for(address), concurrency, patience or Patience())
    return KeptChat(spec, model, source, calls, run)


def model_name(spec: str) -> str:
    """What the model is called in keys and manifests: without its address, and with the content of a replayed file.

    Raises:
        ModelError: the spec can't be read.
    """
    kind, _, rest = spec.partition(":")
    if kind == "vllm":
        raise ModelError(
            f"{spec!r}: models are not started from here yet.",
            fix=f"run `vllm serve {rest or 'MODEL'}` and give its address: http://localhost:8000/v1#{rest or 'MODEL'}",
        )
    if kind == "replay":
        path = Path(rest)
        return f"replay:{path.name}@{hashlib.sha256(_read(path).encode()).hexdigest()[:12]}"
    if kind == "openai" and rest:
        return rest
    if kind in ("http", "https"):
        return _served_model(spec)
    raise ModelError(f"{spec!r} is no chat model.", fix=f"choose one of: {SPECS}")


def _served_model(spec: str) -> str:
    url = urlsplit(without_secrets(spec))
    if not url.hostname or not url.fragment:
        raise ModelError(f"{spec!r} names no model.", fix="add it after a #, such as http://localhost:8000/v1#MODEL")
    return url.fragment


def _key_for(address: str) -> str:
    """WINNOW_API_KEY; else OPENAI_API_KEY, but not in plain text over a network; else what local servers ignore."""
    url = urlsplit(address)
    shared = os.environ.get("OPENAI_API_KEY") if url.scheme == "https" or url.hostname in LOOPBACK else None
    return os.environ.get("WINNOW_API_KEY") or shared or "none"


class Replay:
    """Answers from a file: JSONL lines `{"contains": [text, ...], "reply": text}`.

    The first line all of whose texts occur in the rendered conversation gives the answer. Nothing is sent or paid.
    """

    endpoint = REPLAY

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = [
            _replay_line(path, n, line) for n, line in enumerate(_read(path).splitlines(), 1) if line.strip()
        ]

    async def close(self) -> None:
        """Nothing to let go of."""

    async def respond(self, request: ChatRequest, note: Note) -> dict[str, Any]:
        """The first line that matches."""
        conversation = request.prompt or "\n".join(content for _, content in request.messages)
        for contains, reply in self._lines:
            if all(text in conversation for text in contains):
                return {"choices": [{"message": {"content": reply}, "finish_reason": "stop"}]}
        last = re.sub(r"\s+", " ", request.messages[-1][1] if request.messages else conversation).strip()
        reason = f"{self.path.name} holds no reply to: …{last[-80:]}"
        note(reason)
        raise GaveUpError(reason)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(
            f"The replies {str(path)!r} can't be read: {reason}.", fix="give the path of a JSONL file"
        ) from None


def _replay_line(path: Path, number: int, line: str) -> tuple[list[str], str]:
    try:
        read = json.loads(line)
        contains, reply = read["contains"], read["reply"]
        if isinstance(contains, list) and isinstance(reply, str) and all(isinstance(c, str) for c in contains):
            return contains, reply
    except (ValueError, KeyError, TypeError):
        pass
    raise ModelError(
        f"{path}:{number} is no reply.", fix='write each line as {"contains": ["text", ...], "reply": "text"}'
    )

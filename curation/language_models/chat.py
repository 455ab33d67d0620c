"""Chat models: opened from a spec, answered from `calls.sqlite` where the call is known, asked with patience where not.

Specs: `openai:MODEL` | `http://HOST:PORT/v1#MODEL` (any OpenAI-compatible address) | `vllm:MODEL` (started from here)
| `replay:FILE` | `none` (for what asks nobody: a call fails).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from curation.errors import ModelError
from curation.language_models.calls import Attempt, CallStore, key_of, rendered
from curation.language_models.completions import REPLAY, completion_of, cost_of
from curation.language_models.endpoints import NO_LIMITS, Attempts, GaveUpError, Patience, RefusedError, Served
from curation.language_models.limits import Limits
from curation.language_models.models import ChatRequest, Completion, without_secrets
from curation.language_models.served_weights import weights_of
from curation.language_models.vllm_server import Supervised, VLLMServer, served_name

SPECS = "openai:MODEL, http://HOST:PORT/v1#MODEL, vllm:MODEL, replay:FILE or none"
NONE = "none"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Source(Protocol):
    """Where answers come from."""

    endpoint: str

    async def respond(self, request: ChatRequest, attempts: Attempts) -> dict[str, Any]:
        """The raw response in the shape of Chat Completions; raises GaveUpError for a call, ModelError for a run."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Budget(Protocol):
    """Who knows what one chat model's calls cost, and how much may still be spent on them."""

    async def reserve(self, request: ChatRequest) -> Any:
        """Set aside, before an attempt is sent, the most that it can cost; may wait for others to give some back.

        Raises:
            BudgetError: there is not so much left.
        """
        ...

    def settle(
        self, reservation: Any, response_cost_usd: float | None, reported: dict[str, Any]
    ) -> tuple[float | None, str | None]:
        """Book what an attempt cost: US dollars, or null and why that is unknown.

        Args:
            reservation: of this attempt.
            response_cost_usd: what the endpoint itself says; null where it says nothing.
            reported: its `usage`; empty where it may be paid without an answer (timed out, connection lost, not
                readable): then nothing of the reservation may come back.
        """
        ...

    def release(self, reservation: Any) -> None:
        """Nothing was paid: the attempt was refused, or nobody was reached."""
        ...


class KeptChat:
    """A chat model whose attempts are all kept and whose finished calls are never sent again."""

    def __init__(
        self, spec: str, model: str, source: Source, calls: CallStore | None, run: str, budget: Budget | None = None
    ) -> None:
        self.spec = spec
        self.model = model
        self._source = source
        self._calls = calls
        self.run = run
        """What attempts are recorded under."""
        self._budget = budget
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def complete(self, request: ChatRequest) -> Completion:
        """One answer; equal requests at the same time are sent once.

        Raises:
            ModelError: nothing that is sent to this endpoint will be answered.
            BudgetError: it may not be paid.
        """
        asked = rendered(self.model, request)
        key = key_of(asked)
        async with self._turns.setdefault(key, asyncio.Lock()):
            known = self._calls.lookup(key) if self._calls else None
            if known is not None:
                return replace(completion_of(known), cached=True)
            attempts = _Kept(self, request, key, asked)
            try:
                return attempts.answered(await self._source.respond(request, attempts))
            except GaveUpError as error:
                return Completion(None, error=str(error), refused=isinstance(error, RefusedError))

    async def close(self) -> None:
        """Let go of connections."""
        await self._source.close()


class _Kept:
    """The attempts of one call: each is paid from the budget and becomes a row."""

    def __init__(self, chat: KeptChat, request: ChatRequest, key: str, asked: str) -> None:
        self._chat = chat
        self._request = request
        self._key = key
        self._asked = asked
        self._reservation: Any = None
        self._sent: float | None = None

    async def begin(self) -> None:
        self._sent = None
        if self._chat._budget is not None:
            self._reservation = await self._chat._budget.reserve(self._request)

    def withdraw(self) -> None:
        if self._chat._budget is not None:
            self._chat._budget.release(self._reservation)

    def send(self) -> None:
        self._sent = time.monotonic()

    def failed(self, reason: str, *, paid: bool) -> None:
        cost, why = None, None
        if self._chat._budget is not None and paid:
            cost, why = self._chat._budget.settle(self._reservation, None, {})
        elif self._chat._budget is not None:
            self._chat._budget.release(self._reservation)
        self._keep(error=reason, cost_usd=cost, cost_reason=why)

    def answered(self, response: dict[str, Any]) -> Completion:
        """What it says; it is on disk when this returns."""
        completion = completion_of(response)
        cost, reason = cost_of(response, self._chat._source.endpoint, self._chat.model)
        if self._chat._budget is not None:
            cost, reason = self._chat._budget.settle(self._reservation, cost, response.get("usage") or {})
        self._keep(
            response=response,
            finish_reason=completion.finish_reason,
            input_tokens=completion.input_tokens,
            output_tokens=completion.output_tokens,
            cost_usd=cost,
            cost_reason=reason,
        )
        return completion

    def _keep(self, **outcome: Any) -> None:
        chat = self._chat
        if chat._calls is not None:
            seconds = None if self._sent is None else time.monotonic() - self._sent
            endpoint = chat._source.endpoint
            chat._calls.record(
                Attempt(self._key, chat.model, endpoint, self._asked, chat.run, seconds=seconds, **outcome)
            )


def open_chat_model(
    spec: str,
    *,
    calls: CallStore | None = None,
    run: str = "",
    concurrency: int = 16,
    patience: Patience | None = None,
    limits: Limits = NO_LIMITS,
    budget: Budget | None = None,
) -> KeptChat:
    """A chat model from its spec; nothing is asked yet, only a server may be asked which weights it serves.

    Args:
        spec: `openai:MODEL`, `http://HOST:PORT/v1#MODEL`, `vllm:MODEL`, `replay:FILE` or `none`.
        calls: where attempts are kept and finished calls are looked up; nothing is kept without it.
        run: what the attempts are recorded under.
        concurrency: requests in flight at most; one that waits for its next attempt does not count.
        patience: when to try again and when to give up.
        limits: requests and tokens per minute; without them, those that the endpoint names in its headers.
        budget: who pays for every attempt; replayed answers cost nothing.

    Raises:
        ModelError: unknown kind of spec, no key in the environment, or no such file.
    """
    kind, _, rest = spec.partition(":")
    model = model_name(spec)
    patience = patience or Patience()
    source: Source
    if kind == "replay":
        source, budget = Replay(Path(rest)), None
    elif spec == NONE:
        source, budget = Nobody(), None
    elif kind == "openai":
        key = os.environ.get("OPENAI_API_KEY")
        if not key:
            raise ModelError(
                f"{spec!r} needs a key, and OPENAI_API_KEY is not set.",
                fix="set OPENAI_API_KEY in the environment of this command; it is never stored or logged",
            )
        source = Served(model, None, key, concurrency, patience, limits)
    elif kind == "vllm":
        watched = replace(patience, away_seconds=0)  # whoever watches the server knows better whether it comes back
        source = Supervised(
            VLLMServer(rest), lambda name, where, key: Served(name, where, key, concurrency, watched, limits)
        )
    else:
        address = spec.partition("#")[0]
        key = key_for(address)
        source = Served(model, address, key, concurrency, patience, limits)
        weights = weights_of(address, model, key)
        weights = calls.weights(f"{address}#{model}", weights) if calls else weights
        model = f"{model}@{weights}" if weights else model
    return KeptChat(spec, model, source, calls, run, budget)


def model_name(spec: str) -> str:
    """What the model is called in keys and manifests: without its address, and with the content of a replayed file.

    A server that says which weights it serves under the name adds their hash (see `served_weights`).

    Raises:
        ModelError: the spec can't be read.
    """
    kind, _, rest = spec.partition(":")
    if kind == "vllm" and rest:
        return served_name(rest)
    if kind == "replay":
        path = Path(rest)
        return f"replay:{path.name}@{hashlib.sha256(_read(path).encode()).hexdigest()[:12]}"
    if kind == "openai" and rest:
        return rest
    if spec == NONE:
        return NONE
    if kind in ("http", "https"):
        return _served_model(spec)
    raise ModelError(f"{spec!r} is no chat model.", fix=f"choose one of: {SPECS}")


def _served_model(spec: str) -> str:
    url = urlsplit(without_secrets(spec))
    if not url.hostname or not url.fragment:
        raise ModelError(f"{spec!r} names no model.", fix="add it after a #, such as http://localhost:8000/v1#MODEL")
    return url.fragment


def key_for(address: str) -> str:
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

    async def respond(self, request: ChatRequest, attempts: Attempts) -> dict[str, Any]:
        """The first line that matches."""
        await attempts.begin()
        conversation = request.prompt or "\n".join(content for _, content in request.messages)
        for contains, reply in self._lines:
            if all(text in conversation for text in contains):
                return {"choices": [{"message": {"content": reply}, "finish_reason": "stop"}]}
        last = re.sub(r"\s+", " ", request.messages[-1][1] if request.messages else conversation).strip()
        reason = f"{self.path.name} holds no reply to: …{last[-80:]}"
        attempts.failed(reason, paid=False)
        raise GaveUpError(reason)


class Nobody:
    """Who is asked where no model was named: the first call ends the run."""

    endpoint = REPLAY

    async def close(self) -> None:
        """Nothing to let go of."""

    async def respond(self, request: ChatRequest, attempts: Attempts) -> dict[str, Any]:
        """Nothing."""
        raise ModelError("A call has to be made, and the model is 'none'.", fix=f"name one of: {SPECS}")


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

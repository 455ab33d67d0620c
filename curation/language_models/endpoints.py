"""OpenAI-compatible endpoints: one call, asked with patience.

What is retried, and how: time-outs, 5xx and lost connections up to `Patience.attempts` times with full jitter; 429 and
503 for as long as the endpoint asks (Retry-After), without using up attempts, until nothing has been answered for
`Patience.stall_seconds`. A call that waits holds back no other (see `limits`). What stops the run: a wrong key, an
unknown model, an empty account, an address that does not answer, and more than half of the last 50 attempts failing for
a while. What is never sent again: a request whose answer was cut off at its length limit, and within a run one that the
endpoint itself refuses, such as one that is too long for the model.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn, Protocol

import orjson

from curation.errors import ModelError
from curation.language_models.limits import Limits, limiter_of
from curation.language_models.models import ChatRequest

FATAL_STATUSES = (401, 402, 403, 404)
BUSY_STATUSES = (429, 503)
"""vLLM answers 503, not 429, when its queue is full."""

REFUSED_STATUSES = (400, 413, 422)
"""Something is wrong with this request: it is too long for the model, say."""

NO_LIMITS = Limits()
BYTES_PER_TOKEN = 4
"""Of a request, roughly; a Chinese character has three."""
NEVER_SENT = ("ClientConnectorError", "ConnectionTimeoutError")
"""What aiohttp raises where nobody was reached; anything else may have been read, and paid, by the time it broke."""
OUT_OF_MEMORY = re.compile(r"out of memory|OutOfMemory|EngineDead|No available memory for the cache", re.IGNORECASE)
AGAIN = "then run the same command again; every answer so far is kept"


class Attempts(Protocol):
    """Told of every attempt of a call."""

    async def begin(self) -> None:
        """One is to be sent, as soon as it is its turn; raises BudgetError where that may not be paid."""
        ...

    def withdraw(self) -> None:
        """It was not sent."""
        ...

    def send(self) -> None:
        """It is sent now."""
        ...

    def failed(self, reason: str, *, paid: bool) -> None:
        """It failed; `paid`: it may have been paid for all the same."""
        ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to keep trying."""

    attempts: int = 5
    first_wait_seconds: float = 0.5
    """The k-th retry waits a random time between 0 and this times 2^k."""
    longest_wait_seconds: float = 60
    stall_seconds: float = 900
    """Without one answer for so long, a busy endpoint stops the run."""
    away_seconds: float = 30
    """So long a server that has answered before may be away: it may have been started again."""
    broken_seconds: float = 10
    """When more than half of the last 50 attempts failed for so long, the run stops."""
    timeout_seconds: float = 600


class GaveUpError(Exception):
    """This call will not be answered; the others may be."""


class RefusedError(GaveUpError):
    """The endpoint refused this very request, and would again."""


@dataclass(eq=False)
class _FailedError(Exception):
    """An attempt without an answer."""

    reason: str
    """One line, without the key."""
    status: int | None = None
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    reached: bool = True

    @property
    def may_be_paid(self) -> bool:
        """It broke somewhere after it was sent."""
        return self.reached and (self.status is None or self.status == 200)

    @property
    def fatal(self) -> bool:
        """Nothing that is sent there will be answered."""
        return self.status in FATAL_STATUSES or self.code == "insufficient_quota"


class Served:
    """An OpenAI-compatible endpoint, through the `openai` package's client and its aiohttp transport.

    Address, key and headers are those of the package's client, and requests go straight to the HTTP client that it was
    given: its own `post` takes twice the CPU time of a call (0.79 ms against 0.36 ms) and builds models nobody reads.
    The package's default transport is not used: it slows down with the number of requests in flight.
    """

    def __init__(
        self,
        model: str,
        address: str | None,
        key: str,
        concurrency: int,
        patience: Patience,
        limits: Limits = NO_LIMITS,
    ) -> None:
        from openai import AsyncOpenAI, DefaultAioHttpClient

        self._model = model
        self._key = key
        self._patience = patience
        self._official = address is None
        self._http = DefaultAioHttpClient()
        self._client = AsyncOpenAI(base_url=address, api_key=key, max_retries=0, http_client=self._http)
        headers = {**self._client.default_headers, **self._client.auth_headers}
        self._headers = {name: value for name, value in headers.items() if isinstance(value, str)}
        # Parsed once: that alone is a tenth of the time of a call.
        self._paths = [self._client.base_url.join(path) for path in ("chat/completions", "completions")]
        self.endpoint = self._client.base_url.netloc.decode().rpartition("@")[2]
        self._limiter = limiter_of(self.endpoint, model, concurrency, limits)
        self._opened = self._answered = time.monotonic()
        self._trouble: str | None = None
        """What the server last said about itself that explains why it is away."""
        self._stopped: ModelError | None = None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def respond(self, request: ChatRequest, attempts: Attempts) -> dict[str, Any]:
        """Send until it is answered, the attempts are used up, or the endpoint says that it never will be."""
        content = self._content(request)
        begun, tries, waits = time.monotonic(), 0, 0
        while True:
            try:
                return await self._attempt(request, content, attempts)
            except _FailedError as failure:
                if failure.fatal:
                    await self._refuse(failure)
                if failure.status in BUSY_STATUSES:
                    waits += 1
                    await asyncio.sleep(self._busy_wait(failure, waits))
                elif failure.status in REFUSED_STATUSES:
                    raise RefusedError(failure.reason) from None
                elif not failure.reached and self._may_come_back():
                    await asyncio.sleep(random.uniform(0.5, 1) * min(5.0, self._wait(1)))
                else:
                    tries += 1
                    self._check_tries(failure, tries, begun)
                    await asyncio.sleep(random.uniform(0, self._wait(tries)))

    async def _attempt(self, request: ChatRequest, content: bytes, attempts: Attempts) -> dict[str, Any]:
        longest = request.parameters.get("max_completion_tokens") or request.parameters.get("max_tokens") or 0
        thought = len(content) / BYTES_PER_TOKEN + longest
        await attempts.begin()
        try:
            await self._limiter.turn(thought)
        except BaseException:
            attempts.withdraw()
            raise
        if self._stopped is not None:  # another call has found out
            attempts.withdraw()
            self._limiter.left()
            raise self._stopped
        try:
            attempts.send()
            response, headers = await self._answer(request, content)
            self._answered = time.monotonic()
            taken = (response.get("usage") or {}).get("total_tokens")
            self._limiter.answered(headers, taken - thought if isinstance(taken, int) else 0)
            return response
        except _FailedError as failure:
            self._note(failure, attempts)
            raise
        except asyncio.CancelledError:
            attempts.failed("stopped before it was answered", paid=True)
            raise
        finally:
            self._limiter.left()

    async def _answer(self, request: ChatRequest, content: bytes) -> tuple[dict[str, Any], Mapping[str, str]]:
        """The response and its headers."""
        import httpx2

        seconds = self._patience.timeout_seconds
        try:
            response = await self._http.send(
                httpx2.Request(
                    "POST",
                    self._paths[request.prompt is not None],
                    headers=self._headers,
                    content=content,
                    extensions={"timeout": {"connect": 10.0, "read": seconds, "write": seconds, "pool": None}},
                )
            )
        except httpx2.HTTPError as error:
            causes = [type(error.__cause__).__name__, *(base.__name__ for base in type(error.__cause__).__mro__)]
            what = "Request timed out" if isinstance(error, httpx2.ReadTimeout) else "Connection error"
            raise _FailedError(
                self._line(f"{what}. ({error or causes[0]})"), reached=not set(causes) & set(NEVER_SENT)
            ) from None
        return self._checked(response.status_code, response.headers, response.content), response.headers

    def _checked(self, status: int, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """The response, if it is one.

        Raises:
            _FailedError: it is an error, or something else, such as the page of a proxy.
        """
        read = _json(body)
        if status >= 300:
            error = read.get("error", read) if isinstance(read, dict) else read
            message, code = (error.get("message"), error.get("code")) if isinstance(error, dict) else (error, None)
            said = message or body.decode("utf-8", "replace") or "no reason given"
            reason = self._line(f"Error code: {status} - {said}")
            raise _FailedError(reason, status, code if isinstance(code, str) else None, headers)
        choices = read.get("choices") if isinstance(read, dict) else None
        first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
        if isinstance(read, dict) and (isinstance(first.get("message"), dict) or isinstance(first.get("text"), str)):
            return read
        said = body.decode("utf-8", "replace")[:200]
        raise _FailedError(self._line(f"the answer is no chat completion: {said}"), 200, headers=headers)

    def _note(self, failure: _FailedError, attempts: Attempts) -> None:
        """Tell everybody who has to know of a failed attempt."""
        attempts.failed(failure.reason, paid=failure.may_be_paid)
        if OUT_OF_MEMORY.search(failure.reason):
            self._trouble = failure.reason
        if failure.status in BUSY_STATUSES:
            self._limiter.busy(failure.headers)
        elif failure.status not in REFUSED_STATUSES:
            broken = self._limiter.failed()
            if failure.reached and broken > self._patience.broken_seconds:
                self._stop(
                    f"More than half of the last calls to {self.endpoint} failed, for {broken:.0f} seconds; the last: "
                    f"{failure.reason}",
                    f"mend what it names, {AGAIN}",
                )

    def _content(self, request: ChatRequest) -> bytes:
        body: dict[str, Any] = {name: value for name, value in request.parameters.items() if value is not None}
        if request.prompt is not None:
            body = {"model": self._model, "prompt": request.prompt, **body}
        else:
            if self._official and "max_tokens" in body:  # OpenAI's reasoning models refuse the old name
                body["max_completion_tokens"] = body.pop("max_tokens")
            messages = [{"role": role, "content": content} for role, content in request.messages]
            body = {"model": self._model, "messages": messages, **body}
        try:
            return orjson.dumps(body)
        except TypeError:  # half of a surrogate pair
            return json.dumps(body).encode()

    def _wait(self, tries: int) -> float:
        return min(self._patience.longest_wait_seconds, self._patience.first_wait_seconds * 2.0**tries)

    def _busy_wait(self, failure: _FailedError, waits: int) -> float:
        """Seconds to wait; a tenth or so more than asked for, so that not everybody comes back at once."""
        asked = retry_after(failure.headers)
        wait = asked * random.uniform(1, 1.25) if asked is not None else random.uniform(0.5, 1) * self._wait(waits)
        stalled = time.monotonic() - self._answered
        if stalled + wait > self._patience.stall_seconds:
            self._stop(
                f"{self.endpoint} has been too busy to answer anything for {stalled:.0f} seconds"
                + (f" and asks to wait {asked:.0f} more" if asked is not None else "")
                + f"; it says: {failure.reason}",
                "run the same command again later, or with a lower --concurrency; every answer so far is kept",
            )
        return wait

    def _may_come_back(self) -> bool:
        """Whether a server that can't be reached has answered before, and not long ago."""
        silent = time.monotonic() - self._answered
        return self._answered > self._opened and silent < self._patience.away_seconds

    def _check_tries(self, failure: _FailedError, tries: int, begun: float) -> None:
        """Whether to try on: when the address can't be reached and answered nobody meanwhile, the run stops."""
        if failure.status is not None and 300 <= failure.status < 500 and failure.status not in (408, 409):
            raise GaveUpError(failure.reason) from None
        if tries < self._patience.attempts:
            return
        if not failure.reached and self._answered <= begun:
            if self._trouble:
                self._stop(f"The server at {self.endpoint} ran out of memory and is gone: {self._trouble}", MEMORY)
            gone = " any more" if self._answered > self._opened else ""
            self._stop(
                f"No server answers at {self.endpoint}{gone}: {failure.reason}",
                f"start it or correct the address, {AGAIN}",
            )
        if OUT_OF_MEMORY.search(failure.reason) and self._answered <= begun:
            self._stop(f"The server at {self.endpoint} is out of memory: {failure.reason}", MEMORY)
        raise GaveUpError(f"{failure.reason} (after {self._patience.attempts} attempts)") from None

    def _stop(self, message: str, fix: str) -> NoReturn:
        """Stop this call, and every other before its next attempt."""
        self._stopped = self._stopped or ModelError(message, fix=fix)
        raise self._stopped from None

    async def _refuse(self, failure: _FailedError) -> NoReturn:
        where = f"{self.endpoint} refused the call: {failure.reason}"
        if failure.status == 401:
            variable = "OPENAI_API_KEY" if self._official else "WINNOW_API_KEY"
            self._stop(where, f"set the right key in {variable} and run the same command again")
        if failure.status == 404:
            self._stop(where, await self._served_names())
        if failure.status == 403:
            self._stop(where, f"use a key that may call {self._model!r}, or choose another model")
        self._stop(where, "top up the account or use another key; every answer so far is kept")

    async def _served_names(self) -> str:
        import openai

        try:
            served = [model.id for model in (await self._client.models.list()).data]
        except (openai.OpenAIError, ValueError):
            served = []
        if self._model in served or not served:
            return "check the address: it must end where /chat/completions begins, usually in /v1"
        return f"choose a model that is served there: {', '.join(served[:8])}"

    def _line(self, text: str) -> str:
        return redacted(text, self._key)


MEMORY = f"start it with a smaller --max-model-len or --max-num-seqs, or lower --concurrency; {AGAIN}"


def _json(body: bytes) -> Any:
    """What it holds; null where that is no JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:  # half of a surrogate pair, which models do send, is none for orjson
        pass
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the endpoint asks to wait, from `retry-after-ms` or `retry-after` (seconds or a date)."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        return max(0.0, float(headers["retry-after"]))
    except KeyError:
        return None
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time())
    except (KeyError, ValueError):
        return None


def redacted(text: str, key: str) -> str:
    """One line of at most 500 characters in which no key can be read."""
    if len(key) > 4:
        text = text.replace(key, "[key]")
    text = re.sub(r"\b(sk|pk|key)-[\w*.-]{4,}|(?<=Bearer )\S+", "[key]", text)
    return re.sub(r"\s+", " ", text).strip()[:500]

"""OpenAI-compatible endpoints: one call, asked with patience.

What is retried, and how: time-outs, 5xx and lost connections up to `Patience.attempts` times with full jitter; 429 and
503 for as long as the endpoint asks (Retry-After), without using up attempts, until nothing has been answered for
`Patience.stall_seconds`. What stops the run: a wrong key, an unknown model, an empty account, an address that does not
answer. What is never sent again: a request whose answer was cut off at its length limit, and within a run one that the
endpoint itself refuses, such as one that is too long for the model.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

from curation.errors import ModelError
from curation.language_models.models import ChatRequest

FATAL_STATUSES = (401, 402, 403, 404)
BUSY_STATUSES = (429, 503)
"""vLLM answers 503, not 429, when its queue is full."""

REFUSED_STATUSES = (400, 413, 422)
"""Something is wrong with this request: it is too long for the model, say."""

Note = Callable[[str], None]
"""Called with the reason of every attempt that failed."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to keep trying."""

    attempts: int = 5
    first_wait_seconds: float = 0.5
    """The k-th retry waits a random time between 0 and this times 2^k."""
    longest_wait_seconds: float = 60
    stall_seconds: float = 900
    """Without one answer for so long, a busy endpoint stops the run."""
    timeout_seconds: float = 600


class GaveUpError(Exception):
    """This call will not be answered; the others may be."""


class RefusedError(GaveUpError):
    """The endpoint refused this very request, and would again."""


class Served:
    """An OpenAI-compatible endpoint, through the `openai` package with its aiohttp transport.

    The package's own retries are off (they burn attempts on 429), and its default transport is not used: it slows down
    with the number of requests in flight.
    """

    def __init__(self, model: str, address: str | None, key: str, concurrency: int, patience: Patience) -> None:
        from openai import AsyncOpenAI, DefaultAioHttpClient, Timeout

        self._model = model
        self._key = key
        self._patience = patience
        self._official = address is None
        self._client = AsyncOpenAI(
            base_url=address,
            api_key=key,
            max_retries=0,
            timeout=Timeout(patience.timeout_seconds, connect=10.0),
            http_client=DefaultAioHttpClient(),
        )
        self.endpoint = self._client.base_url.netloc.decode().rpartition("@")[2]
        self._slots = asyncio.Semaphore(concurrency)
        self._answered = time.monotonic()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def respond(self, request: ChatRequest, note: Note) -> dict[str, Any]:
        """Send until it is answered, the attempts are used up, or the endpoint says that it never will be."""
        import openai

        begun, tries, waits = time.monotonic(), 0, 0
        while True:
            try:
                async with self._slots:
                    path = "/chat/completions" if request.prompt is None else "/completions"
                    response = await self._client.post(path, cast_to=object, body=self._body(request))
                checked = _checked(response)
                self._answered = time.monotonic()
                return checked
            except (openai.APIError, ValueError) as error:
                reason = self._reason(error)
                note(reason)
                status = getattr(error, "status_code", None)
                if status in FATAL_STATUSES or getattr(error, "code", None) == "insufficient_quota":
                    await self._refuse(status, reason)
                if status in BUSY_STATUSES:
                    await asyncio.sleep(self._busy_wait(error, waits))
                    waits += 1
                    continue
                if status in REFUSED_STATUSES:
                    raise RefusedError(reason) from None
                tries += 1
                if status is not None and status < 500 and status not in (408, 409):
                    raise GaveUpError(reason) from None
                if tries >= self._patience.attempts:
                    self._give_up(error, reason, begun)
                await asyncio.sleep(random.uniform(0, self._wait(tries)))

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        body: dict[str, Any] = {name: value for name, value in request.parameters.items() if value is not None}
        if request.prompt is not None:
            return {"model": self._model, "prompt": request.prompt, **body}
        if self._official and "max_tokens" in body:  # OpenAI's reasoning models refuse the old name
            body["max_completion_tokens"] = body.pop("max_tokens")
        messages = [{"role": role, "content": content} for role, content in request.messages]
        return {"model": self._model, "messages": messages, **body}

    def _wait(self, tries: int) -> float:
        return min(self._patience.longest_wait_seconds, self._patience.first_wait_seconds * 2.0**tries)

    def _busy_wait(self, error: Exception, waits: int) -> float:
        """Seconds to wait; a tenth or so more than asked for, so that not everybody comes back at once."""
        asked = retry_after(error)
        wait = asked * random.uniform(1, 1.25) if asked is not None else random.uniform(0.5, 1) * self._wait(waits + 1)
        stalled = time.monotonic() - self._answered
        if stalled + wait > self._patience.stall_seconds:
            raise ModelError(
                f"{self.endpoint} has been too busy to answer anything for {stalled:.0f} seconds"
                + (f" and asks to wait {asked:.0f} more." if asked is not None else "."),
                fix="run the same command again later, or with a lower --concurrency; every answer so far is kept",
            ) from None
        return wait

    def _give_up(self, error: Exception, reason: str, begun: float) -> NoReturn:
        """The call failed; so does the run when the address itself can't be reached and answered nobody meanwhile."""
        if type(error.__cause__).__name__.startswith("Connect") and self._answered <= begun:
            raise ModelError(
                f"No server answers at {self.endpoint}: {reason}",
                fix="start it or correct the address, then run the same command again; every answer so far is kept",
            ) from None
        raise GaveUpError(f"{reason} (after {self._patience.attempts} attempts)") from None

    async def _refuse(self, status: int | None, reason: str) -> NoReturn:
        where = f"{self.endpoint} refused the call: {reason}"
        if status == 401:
            variable = "OPENAI_API_KEY" if self._official else "WINNOW_API_KEY"
            raise ModelError(where, fix=f"set the right key in {variable} and run the same command again") from None
        if status == 404:
            raise ModelError(where, fix=await self._served_names()) from None
        if status == 403:
            raise ModelError(where, fix=f"use a key that may call {self._model!r}, or choose another model") from None
        raise ModelError(where, fix="top up the account or use another key; every answer so far is kept") from None

    async def _served_names(self) -> str:
        import openai

        try:
            served = [model.id for model in (await self._client.models.list()).data]
        except (openai.OpenAIError, ValueError):
            served = []
        if self._model in served or not served:
            return "check the address: it must end where /chat/completions begins, usually in /v1"
        return f"choose a model that is served there: {', '.join(served[:8])}"

    def _reason(self, error: Exception) -> str:
        """The error in one line, without the key."""
        text = str(error)
        if error.__cause__ is not None and getattr(error, "status_code", None) is None:
            text += f" ({error.__cause__})"
        return redacted(text, self._key)


def _checked(response: object) -> dict[str, Any]:
    """The response, if it is one.

    Raises:
        ValueError: it is something else, such as the page of a proxy.
    """
    choices = response.get("choices") if isinstance(response, dict) else None
    whole = choices and (isinstance(choices[0].get("message"), dict) or isinstance(choices[0].get("text"), str))
    if not isinstance(response, dict) or not whole:
        raise ValueError(f"the answer is no chat completion: {str(response)[:200]}")
    return response


def retry_after(error: Exception) -> float | None:
    """Seconds that the endpoint asks to wait, from `retry-after-ms` or `retry-after` (seconds or a date)."""
    response = getattr(error, "response", None)
    headers = response.headers if response is not None else {}
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
    except ValueError:
        return None


def redacted(text: str, key: str) -> str:
    """One line of at most 500 characters in which no key can be read."""
    if len(key) > 4:
        text = text.replace(key, "[key]")
    text = re.sub(r"\b(sk|pk|key)-[\w*.-]{4,}|(?<=Bearer )\S+", "[key]", text)
    return re.sub(r"\s+", " ", text).strip()[:500]

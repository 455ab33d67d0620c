"""Asking a chat model about many samples at once, for scorers: every answer kept, nothing asked twice."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from curation.errors import ModelError, WinnowError
from curation.language_models.calls import CallStore
from curation.language_models.chat import KeptChat, open_chat_model
from curation.language_models.models import ChatRequest, Completion
from curation.operators import NOT_REACHED

Found = TypeVar("Found")

FAILURES_IN_A_ROW = 20
"""After so many failed calls without one that came through, something is wrong with all of them."""
REFUSED = "the model refused the request: "
"""How the reason begins where the endpoint would not take this very request: it is kept, and not asked again."""
MOST_REASON_CHARS = 200


def answers(
    spec: str, requests: Sequence[ChatRequest], *, calls: Path | None, run: str, concurrency: int = 16
) -> list[Completion]:
    """One completion per request, in the same order; equal requests are sent once.

    Args:
        spec: who answers (see `curation.language_models.chat`).
        requests: what is asked.
        calls: the corpus' `calls.sqlite`, where answers are looked up and kept; nothing is kept without it.
        run: what the calls are recorded under.
        concurrency: requests in flight at most.

    Returns:
        completions; where a call failed, `text` is null and `error` says why.

    Raises:
        ModelError: the model can't be opened, fails call after call, or refuses all of many requests for one reason.
    """
    with CallStore(calls) if calls else nullcontext() as store:
        chat = open_chat_model(spec, calls=store, run=run, concurrency=concurrency)
        found = completed(_all(chat, requests, 2 * concurrency))
    _check_refusals(found)
    return found


def why_failed(replies: Sequence[Completion]) -> str | None:
    """The reason for a null where a call failed; null where all were answered.

    One that was not reached comes first: it begins with `NOT_REACHED`, so that the sample is measured again.
    """
    failed = sorted((reply for reply in replies if reply.error is not None), key=lambda reply: reply.refused)
    if not failed:
        return None
    return f"{REFUSED if failed[0].refused else NOT_REACHED}{failed[0].error}"[:MOST_REASON_CHARS]


def completed(work: Coroutine[Any, Any, Found]) -> Found:
    """What the work returns; where an event loop is running already (a notebook), it runs in a thread of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    loop = asyncio.new_event_loop()
    task = loop.create_task(work)
    with closing(loop), ThreadPoolExecutor(1) as thread:
        done = thread.submit(loop.run_until_complete, task)
        try:
            return done.result()
        except KeyboardInterrupt:
            loop.call_soon_threadsafe(task.cancel)
            raise


def _check_refusals(found: Sequence[Completion]) -> None:
    """Too long is a request by itself; what is wrong with all of them in the same words is how they are asked."""
    reasons = {completion.error if completion.refused else None for completion in found}
    if len(found) >= FAILURES_IN_A_ROW and len(reasons) == 1 and None not in reasons:
        raise ModelError(
            f"All {len(found)} requests were refused: {reasons.pop()}",
            fix="change the parameter that it names, or choose another model",
        )


async def _all(chat: KeptChat, requests: Sequence[ChatRequest], workers: int) -> list[Completion]:
    found: list[Completion] = [Completion(None, error="not asked")] * len(requests)
    queue = iter(range(len(requests)))
    failures = 0
    stopped: list[WinnowError] = []

    async def work() -> None:
        # Nobody is cancelled when one call stops the run: answers on their way are paid for, and kept.
        try:
            await ask()
        except WinnowError as error:
            stopped.append(error)

    async def ask() -> None:
        nonlocal failures
        for i in queue:
            if stopped:
                return
            found[i] = await chat.complete(requests[i])
            if not found[i].refused:  # says something of this request alone
                failures = failures + 1 if found[i].error is not None else 0
            if failures >= FAILURES_IN_A_ROW:
                raise ModelError(
                    f"{failures} calls failed in a row; the last: {found[i].error}",
                    fix="mend what it names and run the same command again; every answer so far is kept",
                )

    try:
        await asyncio.gather(*(work() for _ in range(min(workers, len(requests)))))
    finally:
        await chat.close()
    if stopped:
        raise stopped[0]
    return found

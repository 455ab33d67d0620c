"""Asking a chat model about many samples at once, for scorers: every answer kept, nothing asked twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from curation.calls import CallStore
from curation.chat import KeptChat, open_chat_model
from curation.errors import ModelError, WinnowError
from curation.models import ChatRequest, Completion

FAILURES_IN_A_ROW = 20
"""After so many failed calls without one that came through, something is wrong with all of them."""


def answers(
    spec: str, requests: Sequence[ChatRequest], *, calls: Path | None, run: str, concurrency: int = 16
) -> list[Completion]:
    """One completion per request, in the same order; equal requests are sent once.

    Args:
        spec: who answers (see `curation.chat`).
        requests: what is asked.
        calls: the corpus' `calls.sqlite`, where answers are looked up and kept; nothing is kept without it.
        run: what the calls are recorded under.
        concurrency: requests in flight at most.

    Returns:
        completions; where a call failed, `text` is null and `error` says why.

    Raises:
        ModelError: the model can't be opened, or refuses every call.
    """
    with CallStore(calls) if calls else nullcontext() as store:
        chat = open_chat_model(spec, calls=store, run=run, concurrency=concurrency)
        return asyncio.run(_all(chat, requests, 2 * concurrency))


async def _all(chat: KeptChat, requests: Sequence[ChatRequest], workers: int) -> list[Completion]:
    found: list[Completion] = [Completion(None, error="not asked")] * len(requests)
    queue = iter(range(len(requests)))
    failures = 0

    async def work() -> None:
        nonlocal failures
        for i in queue:
            found[i] = await chat.complete(requests[i])
            failures = failures + 1 if found[i].error is not None else 0
            if failures >= FAILURES_IN_A_ROW:
                raise ModelError(
                    f"{failures} calls failed in a row; the last: {found[i].error}",
                    fix="mend what it names and run the same command again; every answer so far is kept",
                )

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(workers, len(requests))):
                group.create_task(work())
    except ExceptionGroup as stopped:
        # Not `except*`: what is raised inside one is wrapped in a group again.
        known = stopped.subgroup(WinnowError)
        raise (known or stopped).exceptions[0] from None
    finally:
        await chat.close()
    return found

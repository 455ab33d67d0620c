"""The calls that an outcome rests on: what was asked, every attempt, and each answer raw."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import WinnowError
from studio import forms

if TYPE_CHECKING:
    from curation.language_models.calls import Attempt

LONGEST = 8_000
"""Characters of a prompt or an answer that are shown."""


def calls_of(folder: Path, metadata: Mapping[str, Any], *, key: str, opened: bool = False) -> None:
    """An expander with the calls of an outcome, each with its attempts.

    Args:
        folder: of the corpus.
        metadata: of the outcome, with its calls.
        key: unique on the page.
        opened: whether it is open at first.
    """
    calls = metadata.get("calls") or {}
    if not calls:
        st.caption("No call was kept for it.")
        return
    shown = st.expander(
        f"Calls and raw answers ({len(calls)})", expanded=opened, icon=":material/forum:", key=f"calls-{key}",
        on_change="rerun",
    )  # fmt: skip
    if not shown.open:
        return
    with shown:
        try:
            found = {step: attempts(folder, key_of_call) for step, key_of_call in calls.items()}
        except WinnowError as error:
            forms.show_error(error)
            return
        made = sorted((step for step in found if found[step]), key=lambda step: found[step][-1].created)
        if not made:
            st.caption("Its calls are no longer in calls.sqlite.")
            return
        step = st.segmented_control("Step", made, default=made[-1], required=True, key=f"step-{key}")
        st.markdown("**Asked**")
        st.text(asked(found[step][0].request)[:LONGEST])
        for attempt in found[step]:
            _attempt(attempt)


def attempts(folder: Path, key: str) -> list[Attempt]:
    """Every try of a call, first to last."""
    from curation.language_models.calls import CallStore

    path = folder / "calls.sqlite"
    if not path.exists():
        return []
    with CallStore(path) as calls:
        return calls.attempts(key)


def asked(request: str) -> str:
    """What was sent, as one text."""
    sent = json.loads(request)
    if "prompt" in sent:
        return str(sent["prompt"])
    return "\n\n".join(f"[{m['role']}]\n{m['content']}" for m in sent.get("messages", ()))


def _attempt(attempt: Attempt) -> None:
    told = [f"attempt {attempt.attempt}", attempt.model, attempt.endpoint, attempt.created[:19].replace("T", " ")]
    told += [f"{attempt.seconds:.2f} s"] if attempt.seconds is not None else []
    if attempt.input_tokens is not None and attempt.output_tokens is not None:
        told.append(f"{attempt.input_tokens:,} tokens in, {attempt.output_tokens:,} out")
    told += [f"ended by {attempt.finish_reason}"] if attempt.finish_reason else []
    if attempt.cost_usd is not None:
        told.append(f"{attempt.cost_usd:.2g} US dollars")
    with st.container(border=True, gap="xsmall"):
        if attempt.error is not None:
            st.badge("failed", color="red")
            st.text(attempt.error)
        else:
            st.badge("answered", color="green")
            st.text(_answer(attempt.response or {})[:LONGEST])
        st.caption(forms.plain(" · ".join(told)))
        if attempt.response is not None:
            with st.popover("Raw response"):
                st.code(
                    json.dumps(attempt.response, ensure_ascii=False, indent=1)[:LONGEST], language="json",
                    wrap_lines=True,
                )  # fmt: skip


def _answer(response: Mapping[str, Any]) -> str:
    """The text with its reasoning, neither parsed."""
    choice = (response.get("choices") or [{}])[0]
    message = choice.get("message") or {"content": choice.get("text")}
    thought = message.get("reasoning") or message.get("reasoning_content")
    content = message.get("content")
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return f"[reasoning]\n{thought}\n\n{text}" if thought else text

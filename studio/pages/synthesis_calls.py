"""The calls that an outcome rests on: what was asked, every attempt, and each answer raw."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import WinnowError
from studio import forms
from studio.languages import t

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
        st.caption(t("No call was kept for it."))
        return
    shown = st.expander(
        t("Calls and raw answers ({n:,})", n=len(calls)), expanded=opened, icon=":material/forum:",
        key=f"calls-{key}", on_change="rerun",
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
            st.caption(t("Its calls are no longer in calls.sqlite."))
            return
        step = st.segmented_control(t("Step"), made, default=made[-1], required=True, key=f"step-{key}")
        st.markdown(f"**{t('Asked')}**")
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
    told = [t("Attempt {n}", n=attempt.attempt), attempt.model, attempt.endpoint]
    told.append(f"{attempt.created[:19].replace('T', ' ')} UTC")
    told += [t("{seconds:.2f} s", seconds=attempt.seconds)] if attempt.seconds is not None else []
    if attempt.input_tokens is not None and attempt.output_tokens is not None:
        sent, received = attempt.input_tokens, attempt.output_tokens
        told.append(t("{sent:,} tokens in, {received:,} out", sent=sent, received=received))
    told += [t("ended by {reason}", reason=attempt.finish_reason)] if attempt.finish_reason else []
    if attempt.cost_usd is not None:
        told.append(t("{amount:.2g} US dollars", amount=attempt.cost_usd))
    with st.container(border=True, gap="xsmall"):
        if attempt.error is not None:
            st.badge(t("failed"), color="red", icon=":material/error:")
            st.text(attempt.error)
        else:
            st.badge(t("answered"), color="green", icon=":material/check:")
            st.text(_answer(attempt.response or {})[:LONGEST])
        st.caption(forms.plain(" · ".join(told)))
        if attempt.response is not None:
            with st.popover(t("Raw response")):
                st.code(
                    json.dumps(attempt.response, ensure_ascii=False, indent=1)[:LONGEST], language=None,
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

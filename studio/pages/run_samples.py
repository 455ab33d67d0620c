"""The same held-out prompts, answered again and again while a run trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from studio import forms
from studio.languages import mark, t

if TYPE_CHECKING:
    from studio.pages.run_data import RunData

ROLES = {"system": mark("system"), "user": mark("user"), "assistant": mark("assistant"), "tool": mark("tool")}
HEIGHT = 230
"""Of an answer's box; longer ones scroll."""


def samples(data: RunData) -> None:
    """One prompt, its answers at two steps, and the held-out answer beside them."""
    if not data.samples:
        return
    st.markdown(f"**{t('Sample answers')}**")
    by_prompt = answers_by_prompt(data.samples)
    name = data.folder.name
    prompts = list(by_prompt)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        prompt = st.segmented_control(
            t("Prompt"),
            prompts,
            format_func=lambda p: f"{prompts.index(p) + 1} · {forms.plain(by_prompt[p][0][1]['source'])}",
            default=prompts[0],
            required=True,
            key=f"sample_{name}",
        )
        answers = by_prompt[prompt or prompts[0]]
        steps = [step for step, _ in answers]
        # With a new step comes a new slider, which stands at the end unless it was moved.
        step = _chosen_step(steps, name)
    _prompt(answers[0][1]["prompt"])
    by_step = dict(answers)
    first, now, reference = st.columns(3, gap="medium")
    with first:
        begun = t("Step 0, before training") if steps[0] == 0 else t("Step {step:,}", step=steps[0])
        _answer(begun, by_step[steps[0]])
    with now:
        last = step == steps[-1] and len(steps) > 1
        _answer(t("Step {step:,}, the last", step=step) if last else t("Step {step:,}", step=step), by_step[step])
    with reference:
        st.caption(t("The held-out answer"))
        _box(answers[0][1].get("reference") or t("none"))


def _chosen_step(steps: list[int], name: str) -> int:
    if len(steps) < 2:
        return steps[-1]
    key = f"sample_step_{name}"
    if st.session_state.get(key) not in steps or st.session_state.get(f"{key}_last") == st.session_state.get(key):
        st.session_state[key] = steps[-1]
    st.session_state[f"{key}_last"] = steps[-1]
    chosen: int = st.select_slider(t("Step"), steps, key=key, width=320)
    return chosen


def answers_by_prompt(events: list[dict[str, Any]]) -> dict[str, list[tuple[int, dict[str, Any]]]]:
    """Prompt id -> (step, answer) in the order of the steps."""
    found: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for event in sorted(events, key=lambda event: event["step"]):
        for answer in event["answers"]:
            found.setdefault(answer["id"], []).append((event["step"], answer))
    return found


def _prompt(messages: list[dict[str, str]]) -> None:
    with st.container(border=True):
        for message in messages:
            st.caption(forms.plain(t(ROLES.get(message["role"], message["role"]))))
            st.text(message["content"])


def _answer(title: str, answer: dict[str, Any]) -> None:
    if answer.get("finish_reason") == "stop":
        told = t("{title} · {tokens:,} tokens", title=title, tokens=answer["tokens"])
    else:
        told = t("{title} · {tokens:,} tokens, cut off", title=title, tokens=answer["tokens"])
    st.caption(told)
    _box(answer["answer"] or t("(empty)"))


def _box(text: str) -> None:
    with st.container(border=True, height=HEIGHT):
        st.text(text)

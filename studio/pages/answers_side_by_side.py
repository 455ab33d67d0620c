"""What models wrote to the same prompts, side by side: found by words, by outcome, or one after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from studio import forms
from studio.languages import mark, t, tn, told_text
from studio.pages import conversations
from studio.pages.run_samples import ROLES

MODELS = {"base": mark("base"), "trained": mark("trained"), "random": mark("random")}
VERDICTS = {
    1.0: mark("judge: trained preferred"),
    0.0: mark("judge: other preferred"),
    0.5: mark("judge: tie"),
}
FILES = ("answers.jsonl", "answer_scores.jsonl", "judged_pairs.jsonl")
"""Of a run: what the answers side by side are read from."""
SHOWN = {
    "all": mark("All prompts"),
    "lost": mark("Trained lost"),
    "won": mark("Trained won"),
    "wrong": mark("Trained wrong"),
    "cut": mark("Trained cut off"),
}


def section(folder: Path) -> None:
    """One prompt at a time with every model's answer, found by words, kind of outcome, or one after another."""
    files = [folder / name for name in FILES]
    stamps = tuple((path.stat().st_mtime_ns, path.stat().st_size) if path.exists() else (0, 0) for path in files)
    prompts = _prompts(str(folder), stamps)
    name = folder.name
    search, kind, place, back, forward = st.columns([4, 3, 2, 2, 2], vertical_alignment="bottom")
    words = search.text_input(t("Search prompts and answers"), key=f"answers_search_{name}", placeholder=t("words"))
    shown = kind.selectbox(t("Show"), list(SHOWN), format_func=lambda k: t(SHOWN[k]), key=f"answers_kind_{name}")
    found = [prompt for prompt in prompts if _matches(prompt, words, shown)]
    if not found:
        st.caption(t("No prompt matches."))
        return
    key = f"answers_at_{name}"
    at = min(st.session_state.get(key, 1), len(found))
    st.session_state[key] = at
    place.number_input(t("Prompt of {n:,}", n=len(found)), 1, len(found), key=key)
    back.button(
        t("Previous"),
        icon=":material/chevron_left:",
        key=f"{key}-back",
        width="stretch",
        on_click=_step,
        args=(key, -1, len(found)),
    )
    forward.button(
        t("Next"),
        icon=":material/chevron_right:",
        key=f"{key}-next",
        width="stretch",
        on_click=_step,
        args=(key, 1, len(found)),
    )
    _prompt(found[at - 1])


@st.cache_data(max_entries=4, show_spinner=False)
def _prompts(folder: str, stamps: tuple[tuple[int, int], ...]) -> list[dict[str, Any]]:
    from training.judging.answers import read_answers
    from training.judging.pairwise import read_pairs, still_true
    from training.judging.verified import read_scores

    scores = read_scores(folder)
    # Answers of earlier evaluations are kept too; those that the numbers above are about have scores.
    current = [answer for answer in read_answers(folder) if (answer.id, answer.model) in scores]
    by_model = {model: [answer for answer in current if answer.model == model] for model in MODELS}
    pairs = read_pairs(folder)
    return by_prompt(current, scores, [row for name in MODELS for row in still_true(pairs, by_model, name)])


def _step(key: str, by: int, count: int) -> None:
    st.session_state[key] = (st.session_state[key] - 1 + by) % count + 1


def by_prompt(
    answers: Sequence[Any],
    scores: Mapping[tuple[str, str], Mapping[str, Any]],
    pairs: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Prompt by prompt: its messages, its reference, and by model the answer and what was found of it."""
    verdicts: dict[str, dict[str, Mapping[str, Any]]] = {}
    for pair in pairs:
        verdicts.setdefault(pair["id"], {})[pair["against"]] = pair
    found: dict[str, dict[str, Any]] = {}
    for answer in answers:
        prompt = found.setdefault(
            answer.id,
            {
                "id": answer.id,
                "source": answer.source,
                "messages": answer.prompt,
                "reference": answer.reference,
                "answers": {},
                "verdicts": verdicts.get(answer.id, {}),
            },
        )
        prompt["answers"][answer.model] = (answer, scores.get((answer.id, answer.model), {}))
    return list(found.values())


def _matches(prompt: Mapping[str, Any], words: str, shown: str) -> bool:
    texts = [prompt["reference"] or "", *(m.get("content") or "" for m in prompt["messages"])]
    texts += [answer.answer for answer, _ in prompt["answers"].values()]
    text = " ".join(map(str, texts)).casefold()
    if not all(word in text for word in words.casefold().split()):
        return False
    verdicts = [pair["verdict"] for pair in prompt["verdicts"].values()]
    answer, score = prompt["answers"].get("trained", (None, {}))
    if shown == "lost":
        return 0.0 in verdicts
    if shown == "won":
        return 1.0 in verdicts
    if shown == "wrong":
        return (
            score.get("final_answer") is False or (score.get("code_tests") or 1.0) < 1.0 or score.get("code_tests") == 0
        )
    return shown == "all" or (answer is not None and answer.finish_reason == "length")


def _prompt(prompt: Mapping[str, Any]) -> None:
    st.caption(forms.plain(f"{prompt['source']} · {prompt['id']}"))
    with st.container(border=True, gap="xsmall"):
        st.badge(t("prompt"), color="blue")
        for message in prompt["messages"]:
            if len(prompt["messages"]) > 1:
                st.caption(forms.plain(t(ROLES.get(message["role"], str(message["role"])))))
            _text(str(message.get("content") or ""))
    names = [name for name in MODELS if name in prompt["answers"]]
    cells = st.columns(len(names) + (prompt["reference"] is not None))
    for name, cell in zip(names, cells, strict=False):
        with cell, st.container(border=True, gap="xsmall", height="stretch"):
            answer, score = prompt["answers"][name]
            st.badge(t(MODELS[name]), color={"base": "gray", "trained": "violet", "random": "orange"}[name])  # type: ignore[arg-type]
            _text(answer.answer or t("(empty)"))
            st.caption(forms.plain(" · ".join(findings(answer, score, prompt["verdicts"].get(name)))))
    if prompt["reference"] is not None:
        with cells[-1], st.container(border=True, gap="xsmall", height="stretch"):
            st.badge(t("reference"), color="green")
            _text(prompt["reference"])


def findings(answer: Any, score: Mapping[str, Any], pair: Mapping[str, Any] | None) -> list[str]:
    """What is known of one answer, in a few words each."""
    cut = answer.finish_reason == "length"
    told = [t("{n:,} tokens, cut off", n=answer.tokens) if cut else tn("{n} token", "{n:,} tokens", answer.tokens)]
    if score.get("final_answer") is not None:
        number = score["final_answer_found"] or t("missing")
        if score["final_answer"]:
            told.append(t("final answer {found}: right", found=number))
        else:
            expected = score["final_answer_expected"]
            told.append(t("final answer {found}: wrong, expected {expected}", found=number, expected=expected))
    if score.get("code_tests") is not None:
        told.append(t("passes {share:.0%} of the tests", share=score["code_tests"]))
        if score.get("code_tests_error"):
            told.append(str(score["code_tests_error"])[:120])
    if score.get("rougeL") is not None:
        told.append(f"ROUGE-L {score['rougeL']:.2f}")
    if pair is not None:
        said = t(VERDICTS.get(pair["verdict"], mark("judge: no verdict")))
        told.append(f"{said} ({told_text(pair['why'])})" if pair["why"] else said)
    return told


def _text(text: str) -> None:
    for part, language in conversations.passages(text[: conversations.LONGEST]):
        if language is None:
            st.text(part)
        else:
            st.code(part, language=language or None, wrap_lines=True)
    if len(text) > conversations.LONGEST:
        st.caption(t("{n:,} more characters", n=len(text) - conversations.LONGEST))

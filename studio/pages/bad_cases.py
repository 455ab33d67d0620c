"""Bad cases of a run by rule, the samples of its mix that are nearest, and what to do about them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import WinnowError
from curation.names import checked_name
from curation.storage.sql import literal
from curation.vectors import embeddings
from studio import forms
from studio.languages import mark, t, tn, told, told_text
from studio.pages.answers_side_by_side import MODELS
from studio.pages.distribution import ROW_PIXELS, read_on_browse

if TYPE_CHECKING:
    from curation.corpus import Corpus

WORDING = "wording (lexical)"
TWO_LINES = 66
"""Pixels of a row whose text wraps: in lower ones Streamlit cuts it off."""
RULE_NAMES = {
    "wrong-answer": mark("wrong answer"),
    "format": mark("format"),
    "repetition": mark("repetition"),
    "refusal": mark("refusal"),
    "truncated": mark("truncated"),
    "empty": mark("empty"),
    "wrong-language": mark("wrong language"),
    "hallucinated": mark("hallucinated"),
}


def section(corpus: Corpus, folders: list[Path]) -> None:
    """The part of the page with the bad cases of one run."""
    from training.judging.bad_cases import FILE, found_bad_cases

    # Those that have something to show come first.
    folders = sorted(folders, key=lambda p: (not (p / FILE).exists(), not (p / "answers.jsonl").exists()))
    form, command = st.columns([3, 2], gap="large")
    with form:
        run = st.selectbox(
            t("Training run"), folders, format_func=lambda p: p.name, key=f"cases_run_{len(folders)}_{folders[0].name}"
        )
        model_cell, space_cell, judge_cell = st.columns(3)
        model = model_cell.selectbox(
            t("Answers of"), ["trained", "base", "random"], format_func=lambda m: t(MODELS[m]), key="cases_model"
        )
        spaces = [WORDING, *(about["name"] for about in embeddings(corpus))]
        space = space_cell.selectbox(
            t("Nearest samples by"),
            spaces,
            format_func=lambda s: t("wording (lexical)") if s == WORDING else s,
            key=f"cases_space_{len(spaces)}",
        )
        judge = judge_cell.text_input(
            t("Judge"),
            placeholder=t("none"),
            key="cases_judge",
            help=t("A chat model that looks for contradicted claims."),
        ).strip()
    words = ["bad-cases", str(run), *(["--model", model] if model != "trained" else [])]
    words += ["--judge", judge] if judge else []
    words += ["--embedding", space] if space != WORDING else []
    with command:
        forms.command_box(corpus, words, key="cases", label=t("Find bad cases"), disabled_reason=_reason(run, model))
    report = found_bad_cases(run)
    if report is None:
        st.caption(t("The answers that break a rule appear here, each with the samples that are nearest to it."))
        return
    _groups(report)
    _rule(corpus, run, report)


def _reason(run: Path, model: str) -> str | None:
    from training.judging.answers import read_answers

    if any(answer.model == model for answer in read_answers(run)):
        return None
    return t(
        "The run has no answers of its {model} model yet: write some on the Evaluate page.", model=t(MODELS[model])
    )


def _groups(report: dict[str, Any]) -> None:
    import polars as pl

    asked = t(
        "{bad:,} of {n:,} answers of the {model} model break a rule",
        bad=report["bad_answers"],
        n=report["answers"],
        model=t(MODELS.get(report["model"], report["model"])),
    )
    st.markdown(f"**{forms.plain(asked)}**")
    rows = [
        {
            "rule": _named(group["rule"]),
            **{key: group[key] for key in ("cases", "base_cases", "checked")},
            "meaning": told_text(group["meaning"]),
        }
        for group in report["groups"]
    ]
    number = st.column_config.NumberColumn
    st.dataframe(
        pl.DataFrame(rows, infer_schema_length=None),
        hide_index=True,
        height="content",
        row_height=TWO_LINES,
        column_config={
            "rule": st.column_config.TextColumn(t("Rule"), width=110),
            "cases": number(t("Cases"), width=60, help=t("Empty: the rule could not tell for any answer.")),
            "base_cases": number(
                t("Of the base"), width=80, help=t("Among the base model's answers to the same prompts.")
            ),
            "checked": number(t("Checked"), width=70, help=t("Answers of which the rule can tell.")),
            "meaning": st.column_config.TextColumn(t("What it means"), width="large"),
        },
        placeholder="–",
        alt=t("Rules, and how many answers break each"),
    )
    unknown = [(g["rule"], reason, n) for g in report["groups"] for reason, n in g["unknown"].items()]
    if unknown:
        with st.expander(t("Where a rule can't tell, and why")):
            for rule, reason, n in unknown:
                why = tn(
                    "{rule}, {n} answer: {reason}", "{rule}, {n:,} answers: {reason}", n,
                    rule=_named(rule), reason=told_text(reason),
                )  # fmt: skip
                st.caption(forms.plain(why))


def _named(rule: str) -> str:
    return t(RULE_NAMES.get(rule, rule))


def _rule(corpus: Corpus, run: Path, report: dict[str, Any]) -> None:
    groups = {group["rule"]: group for group in report["groups"] if group["bad"]}
    if not groups:
        return
    rule = st.segmented_control(
        t("Rule"),
        list(groups),
        format_func=lambda r: f"{_named(r)} ({len(groups[r]['bad'])})",
        default=next(iter(groups)),
        required=True,
        key=f"cases_rule_{run.name}_{len(groups)}",
    )
    cases = groups[rule or next(iter(groups))]["bad"]
    left, right = st.columns([3, 2], gap="large")
    with left:
        number = st.number_input(t("Case"), 1, len(cases), 1, key=f"case_{run.name}_{rule}_{len(cases)}")
        _case(cases[int(number) - 1], report["space"])
    with right:
        _remedies(corpus, run, report, str(rule))


def _case(case: dict[str, Any], space: str) -> None:
    import polars as pl

    with st.container(border=True):
        st.badge(_named(case["rule"]), color="red")
        st.caption(forms.plain(told_text(case["why"])))
        parts = {
            t("Asked"): case["question"],
            t("What it answered"): case["answer"] or t("(empty)"),
            t("Reference"): case["reference"],
        }
        for title, text in parts.items():
            if text:
                st.markdown(f"**{title}**")
                st.text(text)
    by = forms.plain(t("wording (lexical)") if space == "lexical" else space)
    st.markdown(t("**Nearest samples of the mix**, by {space}", space=by))
    near = pl.DataFrame(case["neighbours"])
    if near.is_empty():
        st.caption(t("None."))
        return
    state = st.dataframe(
        near,
        hide_index=True,
        row_height=ROW_PIXELS,
        height="content",
        on_select="rerun",
        selection_mode="single-cell",
        key=f"near_{case['rule']}_{case['id']}",
        column_order=["similarity", "source", "question"],
        column_config={
            "similarity": st.column_config.NumberColumn(t("Cosine"), format="%.2f", width=60),
            "source": st.column_config.TextColumn(t("Source"), width=100),
            "question": st.column_config.TextColumn(t("Question"), width=290),
        },
        alt=t("Samples of the mix that are nearest to the case"),
    )
    read_on_browse(state, near)
    st.caption(t("Click a row to read the whole sample on Browse."))


def _remedies(corpus: Corpus, run: Path, report: dict[str, Any], rule: str) -> None:
    """Commands: store the neighbours, export the mix with more of them, make new samples from them."""
    st.markdown(f"**{t('More data where this happens: {rule}', rule=forms.plain(_named(rule)))}**")
    name_cell, most_cell, times_cell = st.columns([2, 1, 1])
    name = name_cell.text_input(t("Selection"), value=f"near-{run.name}-{rule}", key=f"remedy_name_{run.name}_{rule}")
    most = most_cell.number_input(t("At most"), 1, 100_000, 100, key="remedy_most")
    times = times_cell.number_input(t("Copies"), 2, 100, 3, key="remedy_times", help=t("Of each one in the new mix."))
    name = name.strip() or f"near-{run.name}-{rule}"
    words = ["bad-cases", str(run), "--rule", rule, "--select", name, "--most", str(most), "--times", str(times)]
    words += _as_found(report)
    wrong = _wrong_name(name)
    st.caption(t("1. Store the nearest samples of these cases as a selection, and the run's mix with more of them."))
    forms.command_box(
        corpus,
        words,
        key="remedy_select",
        label=t("Store the nearest samples"),
        disabled_reason=wrong,
        primary=False,
    )
    recipe = run / "recipes" / f"{name}.json"
    stored = name in corpus.selections()
    wait = wrong or (None if stored else t("Store the nearest samples first."))
    st.caption(t("2. Export that mix, and train on it."))
    lacks = wait or (None if recipe.exists() else t("The run's mix has no recipe to add to."))
    forms.command_box(
        corpus,
        ["export", str(corpus.path), str(recipe)],
        key="remedy_export",
        label=t("Make the mix"),
        disabled_reason=lacks,
        primary=False,
    )
    st.caption(t("3. Or make new samples from them."))
    _synthesis(corpus, name, wait)


def _wrong_name(name: str) -> str | None:
    try:
        checked_name("selection", name)
    except WinnowError as error:
        return " ".join(told(error))
    return None


def _as_found(report: dict[str, Any]) -> list[str]:
    """The options that the report was made with: the command takes that report, or makes it the same way again."""
    words = ["--model", report["model"]] if report["model"] != "trained" else []
    words += ["--embedding", report["space"]] if report["space"] != "lexical" else []
    words += ["--judge", report["judge"]] if report.get("judge") else []
    return words + (["--neighbours", str(report["neighbours"])] if report.get("neighbours", 5) != 5 else [])


def _synthesis(corpus: Corpus, name: str, wait: str | None) -> None:
    from synthesis.synthesizers import SYNTHESIZERS

    names = [synthesizer.name for synthesizer in SYNTHESIZERS]
    kind_cell, model_cell = st.columns(2)
    kind = kind_cell.selectbox(t("Synthesizer"), names, key="remedy_synthesizer")
    model = model_cell.text_input(t("Model"), placeholder="openai:MODEL", key="remedy_model").strip()
    where = f"id IN (SELECT id FROM selected WHERE name = {literal(name)})"
    words = ["synthesize", str(corpus.path), kind, "--model", model or "SPEC", "--where", where]
    named = None if model else t("Name a model: http://HOST:PORT/v1#MODEL, openai:MODEL or vllm:MODEL.")
    forms.command_box(
        corpus,
        words,
        key="remedy_synthesize",
        label=t("Make new samples"),
        disabled_reason=wait or named,
        primary=False,
    )

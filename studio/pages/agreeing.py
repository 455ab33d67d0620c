"""How far annotators agree, and the samples on which they don't, to be settled one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from curation import annotating
from curation.agreement import FEWEST, Measure
from curation.errors import WinnowError
from studio import forms, jobs
from studio.door import access
from studio.languages import t, tn
from studio.pages import reading

if TYPE_CHECKING:
    from curation.annotating import AgreementReport, Question
    from curation.corpus import Corpus

HEIGHT = 380
"""Of a sample, in pixels."""


def draw(corpus: Corpus, question: Question, who: str) -> None:
    """Draw the agreement on a question."""
    names = [q.name for q in annotating.questions(corpus)]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(t("Question"), names, key="label_question", persist_state="session", width=320)
        st.caption(forms.plain(question.text))
    report = annotating.agreement(corpus, question.name)
    if len(report.answered) < 2:
        _too_few(report)
        return
    _numbers(report)
    left, right = st.columns([9, 11], gap="large")
    with left:
        _people(report)
        st.caption(t("In a terminal:"))
        line = jobs.command_line(["agreement", str(corpus.path), question.name])
        st.code(line, language=None, wrap_lines=True)
        st.caption(t("As a filter, what was agreed or settled:"))
        st.code(annotating.label_condition(question.name, question.answers[0]), language="sql", wrap_lines=True)
    with right:
        _disagreements(corpus, question, report, who)


def _too_few(report: AgreementReport) -> None:
    with st.container(border=True, width=760):
        st.subheader(t("Agreement appears here"))
        st.caption(t("It needs two annotators who answer the same samples."))
        st.caption(
            tn("{n} annotator has answered so far.", "{n:,} annotators have answered so far.", len(report.answered))
        )
        st.button(t("Answer some"), type="primary", on_click=_to_answers)


def _to_answers() -> None:
    st.session_state["label_view"] = "answer"


def _numbers(report: AgreementReport) -> None:
    cells = st.columns(4)
    cells[0].metric(t("Answered by two or more"), f"{report.shared:,}")
    _metric(
        cells[1], t("Agreement"), report.agreement, t("Share of these samples on which all say the same."), percent=True
    )
    if len(report.pairs) == 1:
        _metric(
            cells[2], t("Cohen's kappa"), report.pairs[0].kappa,
            t("Agreement beyond chance: 1 is perfect, 0 is what chance would reach."),
        )  # fmt: skip
    _metric(
        cells[3] if len(report.pairs) == 1 else cells[2], t("Krippendorff's alpha"), report.alpha,
        t("As kappa, for any number of annotators: 0.8 and more is reliable, below 0.67 is not."),
    )  # fmt: skip
    if report.agreement.low is not None:
        st.caption(t("Below each number its 95 % interval."))
    problem = report.alpha.reason or (report.pairs[0].kappa.reason if len(report.pairs) == 1 else None)
    if report.shared < FEWEST:
        st.caption(
            t(
                "{wanted} samples with two answers are needed for more numbers; there are {n}.",
                wanted=FEWEST,
                n=report.shared,
            )
        )
    elif problem:
        st.caption(t("Every answer is the same, so that chance alone would agree: answer more varied samples."))


def _metric(cell: Any, label: str, measure: Measure, told: str, *, percent: bool = False) -> None:
    form = "{:.0%}".format if percent else "{:.2f}".format
    interval = None
    if measure.low is not None and measure.high is not None:
        interval = t("{low} to {high}", low=form(measure.low), high=form(measure.high))
    cell.metric(
        label, "–" if measure.value is None else form(measure.value), interval, delta_color="off", delta_arrow="off",
        help=told,
    )  # fmt: skip


def _people(report: AgreementReport) -> None:
    st.dataframe(
        [{"who": who, "answered": n} for who, n in report.answered.items()],
        hide_index=True,
        column_config={
            "who": st.column_config.TextColumn(t("Annotator")),
            "answered": st.column_config.NumberColumn(t("Answered"), format="localized"),
        },
        alt=t("Annotators and how many samples they answered"),
    )
    if len(report.pairs) > 1:
        st.dataframe(
            [
                {
                    "pair": f"{p.first} – {p.second}",
                    "samples": p.samples,
                    "agreement": p.agreement.value,
                    "kappa": p.kappa.value,
                }
                for p in report.pairs
            ],
            hide_index=True,
            placeholder="–",
            column_config={
                "pair": st.column_config.TextColumn(t("Annotators")),
                "samples": st.column_config.NumberColumn(t("Samples"), format="localized"),
                "agreement": st.column_config.NumberColumn(t("Agreement"), format="percent"),
                "kappa": st.column_config.NumberColumn(t("Cohen's kappa"), format="%.2f"),
            },
            alt=t("Every two annotators: samples that both answered, agreement and Cohen's kappa"),
        )


# -------------------------------------------------------------------- disagreements


def _disagreements(corpus: Corpus, question: Question, report: AgreementReport, who: str) -> None:
    st.markdown(f"**{t('Disagreements')}**")
    st.caption(t("{n:,} in all, {settled:,} of them settled", n=report.disagreed, settled=report.settled))
    if not report.disagreements:
        st.caption(t("None: all say the same."))
        return
    number = st.pagination(len(report.disagreements), key=f"agreeing_{question.name}")
    row = report.disagreements[number - 1]
    said = row["answers"]
    st.dataframe(
        [{"who": person, "answer": answer} for person, answer in said.items()],
        hide_index=True,
        column_config={
            "who": st.column_config.TextColumn(t("Annotator")),
            "answer": st.column_config.TextColumn(t("Answer")),
        },
        alt=t("What each annotator says of this sample"),
    )
    editor = access.may_edit()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(t("Settle it as:"), width="content")
        for place, answer in enumerate(question.answers, 1):
            st.button(
                forms.plain(answer), key=f"agreeing-settle-{place}", shortcut=str(place), disabled=not editor,
                icon=":material/check:" if answer == row["settled"] else None, on_click=_settle,
                help=None if editor else t(access.ONLY_LOOK), args=(corpus, question.name, answer, who, row["id"]),
            )  # fmt: skip
    with st.container(height=HEIGHT, border=True):
        reading.turns(corpus.sample(row["id"]))
    st.caption(t("In a terminal:"))
    settled = row["settled"] or question.answers[0]
    line = ["annotate", str(corpus.path), question.name, settled, "--id", row["id"], "--settle", "--as", who]
    st.code(jobs.command_line(line), language="bash", wrap_lines=True)


def _settle(corpus: Corpus, question: str, answer: str, who: str, sample_id: str) -> None:
    try:
        access.require_editor()
        annotating.annotate(corpus, question, answer, ids=[sample_id], who=who, settles=True)
    except WinnowError as error:
        st.session_state["label_problem"] = error

"""The Label page: a question about one sample at a time, answered under one's name, and how far annotators agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from curation import annotating
from curation.annotating import Question
from curation.errors import WinnowError
from studio import forms, jobs
from studio.door import access
from studio.languages import mark, t, tn
from studio.pages import agreeing, reading
from studio.pages.browsing import keep_link, take_link

if TYPE_CHECKING:
    from curation.corpus import Corpus

HEIGHT = 430
"""Of the sample, in pixels: the buttons stay above the fold."""
VIEWS = {"answer": mark("One by one"), "agreement": mark("Agreement")}
QUEUES = {
    "working-set": mark("Working set, as ingested"),
    "random": mark("Working set, in random order"),
    "others": mark("What others have answered"),
    "disagreements": mark("What others answered otherwise"),
}
FEW = 4
"""Answers that stand in one row."""


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    take_link("view", "label_view", lambda asked: asked if asked in VIEWS else None)
    st.session_state.setdefault("label_view", "answer")
    questions = annotating.questions(corpus)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.title(t("Label"), width="content")
        view = st.segmented_control(
            t("What to look at"), list(VIEWS), format_func=lambda v: t(VIEWS[v]), key="label_view", required=True,
            label_visibility="collapsed",
        )  # fmt: skip
    keep_link("view", view if view != "answer" else None)
    if not corpus.count():
        forms.empty_state(
            t("Samples are labelled here"), t("There are none yet."), ["ingest", str(corpus.path), "FILE"]
        )
    elif not questions:
        _first_question(corpus)
    elif view == "agreement":
        agreeing.draw(corpus, _question(questions), _name())
    else:
        where = forms.working_set(corpus)
        _answering(corpus, questions, where)
    _problem()


def _problem() -> None:
    problem = st.session_state.pop("label_problem", None)
    if problem is not None:
        forms.show_error(problem)


# -------------------------------------------------------------------- questions


def _first_question(corpus: Corpus) -> None:
    with st.container(border=True, width=760):
        st.subheader(t("Ask something about the samples"))
        st.caption(
            t(
                "Answers of people tell what good means here. Two annotators who answer the same samples show how "
                "clear the question is."
            )
        )
        _new_question(corpus, first=True)


def _new_question(corpus: Corpus, *, first: bool = False) -> None:
    with st.form("label_new", border=False):
        name = st.text_input(t("Name"), key="label_new_name", placeholder="quality", help=t("For filters and commands"))
        text = st.text_input(t("Question"), key="label_new_text", placeholder=t("Would you train on this answer?"))
        answers = st.text_input(
            t("Answers, with commas between"), key="label_new_answers", placeholder=t("good, bad"),
            help=t("2 to 9; the keys 1 to 9 give them."),
        )  # fmt: skip
        st.form_submit_button(
            t("Ask this"), type="primary" if first else "secondary", on_click=_ask, args=(corpus,),
            disabled=not access.may_edit(), help=access.refused(),
        )  # fmt: skip
    st.caption(t("In a terminal:"))
    given = [
        name or "quality",
        "--answers",
        (answers or "good,bad").replace(", ", ","),
        *(["--text", text] if text else []),
    ]
    st.code(jobs.command_line(["annotate", str(corpus.path), *given]), language=None, wrap_lines=True)


def _ask(corpus: Corpus) -> None:
    state = st.session_state
    try:
        access.require_editor()
        answers = (state["label_new_answers"] or "").replace("，", ",").split(",")
        made = annotating.ask(
            corpus, state["label_new_name"] or "", answers, text=state["label_new_text"] or "", who=access.who()
        )
    except WinnowError as error:
        state["label_problem"] = error
        return
    state["label_question"] = made.name
    for part in ("name", "text", "answers"):
        state[f"label_new_{part}"] = ""


def _question(questions: list[Question]) -> Question:
    names = {question.name: question for question in questions}
    take_link("question", "label_question", lambda asked: asked if asked in names else None)
    if st.session_state.get("label_question") not in names:
        st.session_state["label_question"] = questions[-1].name
    chosen = st.session_state["label_question"]
    keep_link("question", chosen)
    return names[chosen]


def _name() -> str:
    """Under which name the reader answers."""
    vouched = access.who()
    if vouched is not None:
        return vouched
    take_link("annotator", "label_annotator", lambda asked: asked[:80])
    if not (st.session_state.get("label_annotator") or "").strip():
        st.session_state["label_annotator"] = annotating.annotator(None)
    return str(st.session_state["label_annotator"]).strip()


# -------------------------------------------------------------------- one sample at a time


def _answering(corpus: Corpus, questions: list[Question], where: str | None) -> None:
    question, who = _question(questions), _name()
    columns = st.columns([3, 3, 4, 2], vertical_alignment="bottom")
    columns[0].selectbox(t("Question"), [q.name for q in questions], key="label_question", persist_state="session")
    columns[1].text_input(
        t("Your name"), key="label_annotator", persist_state="session", disabled=access.who() is not None, max_chars=80,
        help=t("Your answers are kept under it; somebody else's name makes them theirs."),
    )  # fmt: skip
    order = columns[2].selectbox(
        t("Which samples"), list(QUEUES), format_func=lambda q: t(QUEUES[q]), key="label_queue", persist_state="session"
    )
    with columns[3].popover(t("New question"), icon=":material/add:", width="stretch"):
        _new_question(corpus)
    keep_link("annotator", who if access.who() is None else None)
    try:
        annotating.annotator(who)
        sample_id, left = _next(corpus, question, who, order, where)
    except WinnowError as error:
        forms.show_error(error)
        return
    done = corpus.query("SELECT count(*) FROM answers WHERE question = ? AND who = ?", question.name, who).item()
    st.progress(
        done / (done + left) if done + left else 1.0,
        text=t("{done:,} answered by you, {left:,} left here", done=done, left=left),
    )
    if sample_id is None:
        _nothing_left(order)
        return
    _asked(corpus, question, who, sample_id)


def _next(corpus: Corpus, question: Question, who: str, order: str, where: str | None) -> tuple[str | None, int]:
    skipped = _skipped(question.name, who)
    ids, left = annotating.queue(corpus, question.name, who, order=order, where=where, without=skipped)
    if not ids and skipped and left:  # those that were skipped come again
        skipped.clear()
        ids, left = annotating.queue(corpus, question.name, who, order=order, where=where)
    back = st.session_state.get("label_back")
    return (back[1] if back is not None and back[0] == (question.name, who) else ids[0] if ids else None), left


def _skipped(question: str, who: str) -> list[str]:
    kept: dict[tuple[str, str], list[str]] = st.session_state.setdefault("label_skipped", {})
    return kept.setdefault((question, who), [])


def _nothing_left(order: str) -> None:
    texts = {
        "others": t("You have answered everything that others have."),
        "disagreements": t("Nobody answered otherwise than you, or it is settled."),
    }
    with st.container(border=True, width=760):
        st.subheader(t("Nothing left here"))
        st.caption(
            texts.get(order, t("You have answered the whole working set. Widen the filter, or see how far you agree."))
        )
        st.button(t("See the agreement"), type="primary", on_click=_to_agreement)


def _to_agreement() -> None:
    st.session_state["label_view"] = "agreement"


def _asked(corpus: Corpus, question: Question, who: str, sample_id: str) -> None:
    mine = corpus.query(
        "SELECT answer FROM answers WHERE question = ? AND who = ? AND id = ?", question.name, who, sample_id
    )
    said = mine.item() if mine.height else None
    others = corpus.query(
        "SELECT count(DISTINCT who) FROM answers WHERE question = ? AND who <> ? AND id = ?",
        question.name,
        who,
        sample_id,
    ).item()
    editor = access.may_edit()
    st.subheader(forms.plain(question.text))
    answers = list(question.answers)
    for start in range(0, len(answers), FEW if len(answers) <= 2 * FEW else 5):
        row = answers[start : start + (FEW if len(answers) <= 2 * FEW else 5)]
        for place, (cell, answer) in enumerate(zip(st.columns(len(row)), row, strict=True), start + 1):
            cell.button(
                forms.plain(answer), key=f"label-answer-{place}", width="stretch", shortcut=str(place),
                icon=":material/check:" if answer == said else None, disabled=not editor,
                help=None if editor else t(access.ONLY_LOOK), on_click=_answer,
                args=(corpus, question.name, answer, who, sample_id),
            )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            t("Back"), key="label-back", icon=":material/arrow_back:", shortcut="b", on_click=_go_back,
            args=(question.name, who), disabled=not _seen(question.name, who),
            help=t("The one before, to answer it anew"),
        )  # fmt: skip
        st.button(
            t("Skip"), key="label-skip", icon=":material/skip_next:", shortcut="s", on_click=_skip,
            args=(question.name, who, sample_id),
        )  # fmt: skip
        if said is not None:
            st.caption(t("You said: {answer}", answer=forms.plain(said)), width="content")
        if others:  # what they said would sway
            told = tn(
                "{n} other annotator has answered this one.", "{n:,} other annotators have answered this one.", others
            )
            st.caption(told, width="content")
    with st.container(height=HEIGHT, border=True, key="label_sample"):
        reading.turns(corpus.sample(sample_id))
    st.caption(t("In a terminal:"))
    line = ["annotate", str(corpus.path), question.name, said or answers[0], "--id", sample_id, "--as", who]
    st.code(jobs.command_line(line), language="bash", wrap_lines=True)


def _seen(question: str, who: str) -> list[str]:
    kept: dict[tuple[str, str], list[str]] = st.session_state.setdefault("label_seen", {})
    return kept.setdefault((question, who), [])


def _answer(corpus: Corpus, question: str, answer: str, who: str, sample_id: str) -> None:
    try:
        access.require_editor()
        annotating.annotate(corpus, question, answer, ids=[sample_id], who=who)
    except WinnowError as error:
        st.session_state["label_problem"] = error
        return
    _leave(question, who, sample_id)


def _skip(question: str, who: str, sample_id: str) -> None:
    _skipped(question, who).append(sample_id)
    _leave(question, who, sample_id)


def _leave(question: str, who: str, sample_id: str) -> None:
    st.session_state.pop("label_back", None)
    seen = _seen(question, who)
    if sample_id in seen:
        seen.remove(sample_id)
    seen.append(sample_id)


def _go_back(question: str, who: str) -> None:
    seen = _seen(question, who)
    back = st.session_state.get("label_back")
    at = seen.index(back[1]) if back is not None and back[1] in seen else len(seen)
    st.session_state["label_back"] = ((question, who), seen[max(0, at - 1)])

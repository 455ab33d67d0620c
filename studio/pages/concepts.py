"""The Concepts page: teach what you mean by a few yes/no answers, and let it score every sample."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import streamlit as st

from curation.annotating import YES_NO, annotate, questions
from curation.errors import WinnowError
from curation.scorers.concept import FEWEST, FEWEST_JUDGED, NAME, Taught, answered, learn
from studio import forms, jobs
from studio.door import access
from studio.languages import mark, t
from studio.pages import reading
from studio.pages.browsing import keep_link, take_link

if TYPE_CHECKING:
    from curation.corpus import Corpus
    from curation.teaching import Proposal, Sureness

HEIGHT = 400
"""Of the sample, in pixels: the buttons stay above the fold."""
CHECKED = 8
"""Samples of the top and of the border that are listed."""
TEXT = 160
"""Characters of a text in these lists."""
WHY = {
    "unsure": mark("It is least sure of this one."),
    "top": mark("It takes this one for a sure yes."),
    "like": mark("Like its description, or like what is of it."),
    "any": mark("Drawn by chance."),
}
ANSWERS = {"yes": mark("Yes"), "no": mark("No")}
ICONS = {"yes": ":material/check:", "no": ":material/close:"}


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title(t("Concepts"))
    embeddings = sorted(file.parent.name for file in (corpus.path / "embeddings").glob("*/about.json"))
    if not corpus.count():
        forms.empty_state(
            t("Concepts are taught here"), t("There are no samples yet."), ["ingest", str(corpus.path), "FILE"]
        )
    elif not embeddings:
        forms.empty_state(
            t("Concepts are taught here"),
            t("A concept judges samples by their vectors, and no embedding is stored yet."),
            ["embed", str(corpus.path)],
        )
    else:
        _concepts(corpus, embeddings)
    problem = st.session_state.pop("concept_problem", None)
    if problem is not None:
        forms.show_error(problem)


def _concepts(corpus: Corpus, embeddings: list[str]) -> None:
    names = [q.name for q in questions(corpus) if set(YES_NO) <= set(q.answers) and re.fullmatch(NAME, q.name)]
    if not names:
        with st.container(border=True, width=760):
            st.subheader(t("Teach it what you mean"))
            st.caption(
                t(
                    "Name something that no score tells, such as a tone or a subject, and say of ten to twenty samples "
                    "whether they are of it. The concept then scores all of them."
                )
            )
            _new(corpus, first=True)
        return
    take_link("concept", "concept_name", lambda asked: asked if asked in names else None)
    if st.session_state.get("concept_name") not in names:
        st.session_state["concept_name"] = names[-1]
    columns = st.columns([4, 4, 2], vertical_alignment="bottom")
    name = columns[0].selectbox(t("Concept"), names, key="concept_name", persist_state="session")
    embedding = columns[1].selectbox(
        t("Embedding"), embeddings, index=embeddings.index(_latest(corpus)), key="concept_embedding",
        help=t("What it judges by: samples with similar vectors are alike."),
    )  # fmt: skip
    with columns[2].popover(t("New concept"), icon=":material/add:", width="stretch"):
        _new(corpus)
    keep_link("concept", name)
    try:
        _teaching(corpus, name, embedding)
    except WinnowError as error:
        forms.show_error(error)


def _latest(corpus: Corpus) -> str:
    files = (corpus.path / "embeddings").glob("*/about.json")
    return max(files, key=lambda file: file.stat().st_mtime).parent.name


def _new(corpus: Corpus, *, first: bool = False) -> None:
    with st.form("concept_new", border=False):
        st.text_input(
            t("Name"), key="concept_new_name", placeholder="polite",
            help=t("Small letters, digits and _: its scores are called concept_NAME."),
        )  # fmt: skip
        st.text_input(
            t("What it is, in a few words"), key="concept_new_text", placeholder=t("a polite answer to a complaint"),
            help=t("The first samples are proposed by it."),
        )  # fmt: skip
        st.form_submit_button(
            t("Begin"), type="primary" if first else "secondary", on_click=_begin, args=(corpus,),
            disabled=not access.may_edit(), help=access.refused(),
        )  # fmt: skip


def _begin(corpus: Corpus) -> None:
    from curation.teaching import begun

    state = st.session_state
    name = (state["concept_new_name"] or "").strip()
    try:
        access.require_editor()
        begun(corpus, name, state["concept_new_text"] or "", access.who())
    except WinnowError as error:
        state["concept_problem"] = error
        return
    state["concept_name"], state["concept_new_name"], state["concept_new_text"] = name, "", ""


# -------------------------------------------------------------------- asking


def _teaching(corpus: Corpus, name: str, embedding: str) -> None:
    from curation.searching import space_of

    taught = learn(space_of(corpus, embedding), *answered(corpus, name))
    left, right = st.columns([11, 9], gap="large")
    with left:
        _ask(corpus, name, embedding)
    with right:
        _learned(corpus, name, embedding, taught)


def _skipped(name: str) -> list[str]:
    kept: dict[str, list[str]] = st.session_state.setdefault("concept_skipped", {})
    return kept.setdefault(name, [])


def _ask(corpus: Corpus, name: str, embedding: str) -> None:
    from curation.teaching import propose

    text = next(q.text for q in questions(corpus) if q.name == name)
    back = st.session_state.get("concept_back")
    if back is not None and back[0] == name:
        sample_id, why = back[1], None
    else:
        proposals = propose(corpus, name, embedding=embedding, without=_skipped(name))
        if not proposals:
            st.info(t("Every sample that has a vector was answered or skipped."))
            return
        sample_id, why = proposals[0].id, proposals[0]
    st.subheader(t("Is this of: {concept}?", concept=forms.plain(text)))
    editor = access.may_edit()
    seen: list[str] = st.session_state.setdefault("concept_seen", {}).setdefault(name, [])
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for answer, label in ANSWERS.items():
            st.button(
                t(label), key=f"concept-{answer}", icon=ICONS[answer], shortcut=answer[0], on_click=_answer,
                args=(corpus, name, answer, sample_id), disabled=not editor,
                help=None if editor else t(access.ONLY_LOOK),
            )  # fmt: skip
        st.button(
            t("Skip"), key="concept-skip", icon=":material/skip_next:", shortcut="s", on_click=_skip,
            args=(name, sample_id),
        )  # fmt: skip
        st.button(
            t("Back"), key="concept-back", icon=":material/arrow_back:", shortcut="b", on_click=_go_back,
            args=(name,), disabled=not seen, help=t("The one before, to answer it anew"),
        )  # fmt: skip
    _caption(why, sample_id, corpus, name)
    with st.container(height=HEIGHT, border=True, key="concept_sample"):
        reading.turns(corpus.sample(sample_id))


def _caption(why: Proposal | None, sample_id: str, corpus: Corpus, name: str) -> None:
    if why is None:
        said = corpus.query("SELECT answer FROM labels WHERE question = ? AND id = ?", name, sample_id)
        st.caption(
            t("You said: {answer}", answer=t(ANSWERS.get(said.item(), said.item())))
            if said.height
            else t("Skipped before.")
        )
    elif why.probability is None:
        st.caption(t(WHY[why.why]))
    else:
        st.caption(t("{why} Probability of a yes: {p:.2f}", why=t(WHY[why.why]), p=why.probability))


def _answer(corpus: Corpus, name: str, answer: str, sample_id: str) -> None:
    try:
        access.require_editor()
        annotate(corpus, name, answer, ids=[sample_id], who=access.who())
    except WinnowError as error:
        st.session_state["concept_problem"] = error
        return
    _leave(name, sample_id)


def _skip(name: str, sample_id: str) -> None:
    _skipped(name).append(sample_id)
    _leave(name, sample_id)


def _leave(name: str, sample_id: str) -> None:
    st.session_state.pop("concept_back", None)
    seen: list[str] = st.session_state["concept_seen"].setdefault(name, [])
    if sample_id in seen:
        seen.remove(sample_id)
    seen.append(sample_id)


def _go_back(name: str) -> None:
    seen: list[str] = st.session_state["concept_seen"][name]
    back = st.session_state.get("concept_back")
    at = seen.index(back[1]) if back is not None and back[0] == name and back[1] in seen else len(seen)
    st.session_state["concept_back"] = (name, seen[max(0, at - 1)])


# -------------------------------------------------------------------- what it has learned


def _learned(corpus: Corpus, name: str, embedding: str, taught: Taught) -> None:
    from curation.teaching import sureness

    sure = sureness(taught)
    cells = st.columns(4)
    cells[0].metric(t("Yes"), f"{taught.yes:,}")
    cells[1].metric(t("No"), f"{taught.no:,}")
    _metric(cells[2], t("Accuracy"), sure.accuracy, sure.accuracy_interval, t("Share of answers on the right side."))
    _metric(
        cells[3], t("AUC"), sure.auc, sure.auc_interval,
        t("How often a yes is ranked above a no; 0.5 is chance, 1 is perfect."),
    )  # fmt: skip
    st.caption(_about(taught, sure))
    command = ["score", str(corpus.path), "concept", "--set", f"concept={name}"]
    if embedding != _latest(corpus):
        command += ["--set", f"embedding={embedding}"]
    problem = taught.problem(FEWEST)
    forms.command_box(
        corpus, command, key="concept-score", label=t("Score all samples"),
        disabled_reason=None if problem is None else _few(taught, FEWEST), rows=corpus.count(),
    )  # fmt: skip
    if taught.weights is not None:
        _to_check(corpus, name, embedding)
    st.caption(t("Answering in a terminal:"))
    st.code(
        jobs.command_line(["teach", str(corpus.path), name, "--yes", "ID", "--no", "ID"]),
        language=None,
        wrap_lines=True,
    )


def _few(taught: Taught, fewest: int) -> str:
    return t("Needs {n} of each answer; there are {yes} yes and {no} no.", n=fewest, yes=taught.yes, no=taught.no)


def _about(taught: Taught, sure: Sureness) -> str:
    if sure.auc is None:
        return _few(taught, FEWEST_JUDGED)
    return t(
        "Each answer foretold by the others, with 95 % intervals. Mostly hard samples are asked about, so that it does "
        "better among all."
    )


def _metric(cell: object, label: str, value: float | None, interval: tuple[float, float] | None, told: str) -> None:
    between = None if interval is None else t("{low:.2f} to {high:.2f}", low=interval[0], high=interval[1])
    shown = "–" if value is None else f"{value:.2f}"
    cell.metric(label, shown, between, delta_color="off", delta_arrow="off", help=told)  # type: ignore[attr-defined]


def _to_check(corpus: Corpus, name: str, embedding: str) -> None:
    top, border = st.tabs([t("Surest yes"), t("At the border")])
    with top:
        _list(corpus, name, embedding, "top")
    with border:
        _list(corpus, name, embedding, "unsure")


def _list(corpus: Corpus, name: str, embedding: str, kind: str) -> None:
    from curation.teaching import propose

    found = propose(corpus, name, embedding=embedding, kind=kind, many=CHECKED)
    if not found:
        st.caption(t("Every sample is answered."))
        return
    listed = ", ".join(forms.literal(p.id) for p in found)
    rows = corpus.frame(["id", "instruction", "response"], where=f"id IN ({listed})")
    texts = {row["id"]: row for row in rows.iter_rows(named=True)}
    state = st.dataframe(
        [
            {
                "probability": p.probability,
                "instruction": " ".join(texts[p.id]["instruction"][:TEXT].split()),
                "response": " ".join(texts[p.id]["response"][:TEXT].split()),
            }
            for p in found
        ],
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        # By position, so that another list must be another table.
        key=f"concept_{kind}_{hash(tuple(p.id for p in found))}",
        column_config={
            "probability": st.column_config.NumberColumn(t("Yes"), format="%.2f", width=56),
            "instruction": st.column_config.TextColumn(t("Instruction"), width=150),
            "response": st.column_config.TextColumn(t("Response"), width=110),
        },
        alt=t("Samples with the probability of a yes; choose one to answer it"),
    )
    row = forms.chosen_row(state, len(found))
    if row is not None:
        st.button(
            t("Answer this one"), key=f"concept-take-{kind}", icon=":material/arrow_back:", on_click=_take,
            args=(name, found[row].id),
        )  # fmt: skip


def _take(name: str, sample_id: str) -> None:
    st.session_state["concept_back"] = (name, sample_id)

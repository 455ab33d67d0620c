"""The History page: what was decided and rewritten, snapshots, and what differs between two sets of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import WinnowError
from studio import forms, jobs
from studio.door import access
from studio.languages import mark, t, tn, told_text

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

    from curation.corpus import Corpus
    from curation.snapshots import DiffReport

VIEWS = {"actions": mark("Actions"), "snapshots": mark("Snapshots and differences")}
KINDS = {
    "drop": mark("drop"), "keep": mark("keep"), "clear": mark("clear"), "tag": mark("tag"), "untag": mark("untag"),
    "edit": mark("edit"), "normalize": mark("normalize"), "undo": mark("undo"), "redo": mark("redo"),
}  # fmt: skip
"""Kind of an action -> what it is called."""
CHANGES = {
    "same": mark("Same"), "added": mark("Added"), "removed": mark("Removed"), "changed": mark("Changed"),
}  # fmt: skip
TOUCHED = 100
"""Samples of an action that are listed."""

MOST = 1_000
"""Rows of a difference that are sent to the browser."""


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title(t("History"))
    st.caption(t("Nothing is overwritten: every decision and every new version is an action that can be taken back."))
    view = st.segmented_control(
        t("View"), list(VIEWS), format_func=lambda v: t(VIEWS[v]), default="actions", required=True, key="history_view",
        label_visibility="collapsed",
    )  # fmt: skip
    if not corpus.count():
        forms.empty_state(t("Actions appear here"), t("The corpus has no samples yet."), "ingest")
    elif view == "actions":
        _actions(corpus)
    else:
        _snapshots(corpus)
        _difference(corpus)


def _actions(corpus: Corpus) -> None:
    from curation.actions import history

    problem = st.session_state.pop("history_problem", None)
    if problem is not None:
        forms.show_error(problem)
    actions = history(corpus).head(MOST)
    if actions.is_empty():
        forms.empty_state(
            t("Actions appear here"),
            t("Keep, drop, tag or rewrite samples on Browse, or normalize them on Clean."),
            "browse",
        )
        return
    state = st.dataframe(
        _in_words(actions).select("number", "kind", "changed", "note", "who", "made_at", "undone", "action"),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        height="content" if actions.height <= 12 else 460,
        key=f"history_actions_{actions.height}",
        column_config={
            "number": st.column_config.NumberColumn(t("No."), width=60),
            "kind": st.column_config.TextColumn(t("Action"), width="small"),
            "changed": st.column_config.NumberColumn(t("Samples"), format="localized", width="small"),
            "note": st.column_config.TextColumn(t("Why"), width=220),
            "who": st.column_config.TextColumn(t("Who"), width="small"),
            "made_at": st.column_config.DatetimeColumn(t("When"), format="YYYY-MM-DD HH:mm", width=130),
            "undone": st.column_config.CheckboxColumn(t("Undone"), width="small"),
            "action": st.column_config.TextColumn(t("Id"), width="small"),
        },
        alt=t("Actions, the latest first"),
    )
    row: dict[str, Any] = actions.row(forms.chosen_row(state, actions.height) or 0, named=True)
    why = t("It is undone already.") if row["undone"] else None
    why = access.refused() or why
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            t("Undo no. {number:,}: {kind}", number=row["number"], kind=forms.plain(_kind(row["kind"]))),
            icon=":material/undo:",
            key="history_undo",
            disabled=why is not None,
            help=why,
            on_click=_undo,
            args=(corpus, row["action"]),
        )
        st.caption(t("Click a row to choose another action. Undoing an undo does it again."))
    _samples_of(corpus, row["action"])


def _kind(kind: str | None) -> str:
    return t(KINDS.get(kind or "", kind or ""))


def _in_words(actions: pl.DataFrame) -> pl.DataFrame:
    return actions.with_columns(kind=_mapped(actions["kind"], _kind))


def _changes_in_words(rows: Any) -> Any:
    """A frame, or rows as dicts, with changes and reasons in the reader's language."""
    import polars as pl

    frame = rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(rows)
    if frame.is_empty():
        return frame
    told: dict[str, Callable[[str], str]] = {"change": lambda c: t(CHANGES.get(c, c)), "reason": told_text}
    return frame.with_columns(**{name: _mapped(frame[name], say) for name, say in told.items()})


def _mapped(values: pl.Series, say: Callable[[str], str]) -> pl.Series:
    import polars as pl

    said = {value: say(value) for value in values.unique().drop_nulls()}
    return pl.Series(values.name, [said.get(value) for value in values], pl.String)


def _set_named(name: str) -> str:
    from curation.snapshots import NOW

    return t("{now}: the corpus as it is", now=NOW) if name == NOW else name


def _undo(corpus: Corpus, action: str) -> None:
    from curation.actions import undo

    try:
        access.require_editor()
        report = undo(corpus, action)
    except WinnowError as error:
        st.session_state["history_problem"] = error
        return
    st.toast(tn("Taken back for {n} sample.", "Taken back for {n:,} samples.", report.changed))


def _samples_of(corpus: Corpus, action: str) -> None:
    rows = corpus.query(
        f"""WITH touched AS (
            SELECT id, coalesce(becomes.decision, '') AS decision, becomes.replaced_by AS replaced_by FROM changes
            WHERE action = ? AND (was IS NULL OR was.is_current OR becomes.replaced_by IS NOT NULL)
            UNION ALL SELECT id, if(becomes, '+ ', '- ') || tag, NULL FROM tag_changes WHERE action = ?)
        SELECT left(v.instruction, 200) AS instruction, left(v.response, 200) AS response, v.source, t.decision,
            t.replaced_by, v.id
        FROM touched t JOIN versions v USING (id) ORDER BY v.position LIMIT {TOUCHED}""",
        action,
        action,
    )
    if rows.is_empty():
        return
    st.markdown(t("**Samples it touched** (up to {n})", n=TOUCHED))
    state = st.dataframe(
        rows,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        height="content" if rows.height <= 8 else 320,
        key=f"history_samples_{action}",
        column_order=["instruction", "response", "source", "decision"],
        column_config={
            "instruction": st.column_config.TextColumn(t("Instruction"), width="medium"),
            "response": st.column_config.TextColumn(t("Response"), width="medium"),
            "source": st.column_config.TextColumn(t("Source"), width="small"),
            "decision": st.column_config.TextColumn(t("Became"), width="small"),
        },
        alt=t("Samples that the action touched"),
    )
    chosen = forms.chosen_row(state, rows.height)
    row = rows.row(chosen or 0, named=True)
    if row["replaced_by"]:
        _versions(corpus, row["id"], row["replaced_by"])
    forms.link("browse", t("Read it on Browse"), icon=":material/arrow_forward:", query={"sample": row["id"]})


def _versions(corpus: Corpus, old: str, new: str) -> None:
    from studio.pages.differences import show

    before, after = corpus.sample(old), corpus.sample(new)
    for place, (was, becomes) in enumerate(zip(before.messages, after.messages, strict=False)):
        if was != becomes:
            st.caption(t("Turn {n}, {role}", n=place + 1, role=forms.plain(t(was.role))))
            if was.content != becomes.content:
                show(was.content, becomes.content)
            if was.reasoning != becomes.reasoning:
                st.caption(t("Reasoning"))
                show(was.reasoning or "", becomes.reasoning or "")


def _snapshots(corpus: Corpus) -> None:
    from curation.snapshots import snapshots

    left, right = st.columns([3, 2], gap="large")
    with left:
        st.markdown(t("**Snapshots**"))
        found = snapshots(corpus).reverse()
        if found.is_empty():
            st.caption(t("A snapshot remembers which samples are in, in which version, and why others are not."))
        else:
            st.dataframe(
                found,
                hide_index=True,
                height="content" if found.height <= 8 else 320,
                column_config={
                    "name": t("Name"),
                    "note": t("Note"),
                    "samples": st.column_config.NumberColumn(t("Samples"), format="localized"),
                    "dropped": st.column_config.NumberColumn(t("Dropped"), format="localized"),
                    "made_at": st.column_config.DatetimeColumn(t("When"), format="YYYY-MM-DD HH:mm", width=130),
                },
                alt=t("Snapshots of the corpus"),
            )
    with right:
        name = st.text_input(t("New snapshot"), key="snapshot_name", placeholder=t("such as before-cleaning")).strip()
        argv = ["snapshot", str(corpus.path), name or "NAME"]
        forms.command_box(
            corpus,
            argv,
            key="snapshot",
            label=t("Take a snapshot"),
            disabled_reason=None if name else t("Name it first."),
        )


def _difference(corpus: Corpus) -> None:
    from curation.snapshots import sets

    st.subheader(t("What differs"))
    known = list(sets(corpus))
    if len(known) < 2:
        st.caption(
            t("Take a snapshot, select, or export a mix: then compare two of them, or one and the corpus as it is now.")
        )
        return
    left, right = st.columns(2)
    names = [t("Before the change"), t("After the change")]
    before = left.selectbox(names[0], known, index=1, key=f"diff_before_{len(known)}", format_func=_set_named)
    after = right.selectbox(names[1], known, index=0, key=f"diff_after_{len(known)}", format_func=_set_named)
    st.code(jobs.command_line(["diff", str(corpus.path), before, after]), language=None, wrap_lines=True)
    try:
        _show_difference(_compared(corpus, before, after))
    except WinnowError as error:
        forms.show_error(error)


def _compared(corpus: Corpus, before: str, after: str) -> DiffReport:
    """The difference; kept until something is done to the corpus, as every click draws the page again."""
    from curation.snapshots import diff

    state = corpus.query(
        """SELECT (SELECT max("number") FROM actions), (SELECT count(*) FROM samples),
            (SELECT count(*) FROM held_out), (SELECT count(*) FROM duplicates), (SELECT max(made_at) FROM snapshots),
            (SELECT max(created_at) FROM selections), (SELECT max(created_at) FROM mixes)"""
    ).row(0)
    asked = (str(corpus.path), before, after, state)
    kept: tuple[Any, DiffReport] | None = st.session_state.get("history_diff")
    if kept is None or kept[0] != asked:
        with st.spinner(t("Comparing")):
            kept = asked, diff(corpus, before, after, limit=MOST)
        st.session_state["history_diff"] = kept
    return kept[1]


def _show_difference(report: DiffReport) -> None:
    from curation.snapshots import summary

    cells = st.columns(4)
    for cell, name in zip(cells, ("same", "added", "removed", "changed"), strict=True):
        cell.metric(t(CHANGES[name]), f"{getattr(report, name):,}")
    if report.rows.is_empty():
        st.caption(t("Both have the same samples."))
        return
    reasons, samples = st.columns([2, 3], gap="large")
    with reasons:
        st.markdown(t("**By reason**"))
        st.dataframe(
            _changes_in_words(summary(report)),
            hide_index=True,
            height="content" if len(summary(report)) <= 10 else 380,
            column_config={
                "change": st.column_config.TextColumn(t("Change"), width=70),
                "reason": st.column_config.TextColumn(t("Reason"), width=140),
                "samples": st.column_config.NumberColumn(t("Samples"), format="localized", width=70),
            },
            alt=t("How many samples were added, removed or changed for which reason"),
        )
    with samples:
        differing = report.added + report.removed + report.changed
        more = differing > report.rows.height
        st.markdown(t("**Samples** (the first {n:,})", n=MOST) if more else t("**Samples**"))
        st.dataframe(
            _changes_in_words(report.rows.select("change", "instruction", "source", "reason", "id")),
            hide_index=True,
            height="content" if report.rows.height <= 10 else 380,
            column_config={
                "change": st.column_config.TextColumn(t("Change"), width="small"),
                "instruction": st.column_config.TextColumn(t("Instruction"), width="medium"),
                "source": st.column_config.TextColumn(t("Source"), width="small"),
                "reason": st.column_config.TextColumn(t("Reason"), width="medium"),
                "id": st.column_config.TextColumn(t("Id"), width="small"),
            },
            alt=t("Samples that were added, removed or changed"),
        )

"""The History page: what was decided and rewritten, snapshots, and what differs between two sets of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import WinnowError
from studio import forms, jobs

if TYPE_CHECKING:
    from curation.corpus import Corpus
    from curation.snapshots import DiffReport

VIEWS = {"actions": "Actions", "snapshots": "Snapshots and differences"}
MOST = 1_000
"""Rows of a difference that are sent to the browser."""


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title("History")
    st.caption("Nothing is overwritten: every decision and every new version is an action that can be taken back.")
    view = st.segmented_control(
        "View", list(VIEWS), format_func=VIEWS.__getitem__, default="actions", required=True, key="history_view",
        label_visibility="collapsed",
    )  # fmt: skip
    if not corpus.count():
        forms.empty_state("Actions appear here", "The corpus has no samples yet.", "ingest")
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
            "Actions appear here", "Keep, drop, tag or rewrite samples on Browse, or normalize them on Clean.", "browse"
        )
        return
    state = st.dataframe(
        actions.select("number", "kind", "changed", "note", "who", "made_at", "undone", "action"),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        height="content" if actions.height <= 12 else 460,
        key=f"history_actions_{actions.height}",
        column_config={
            "number": st.column_config.NumberColumn("No.", width=48),
            "kind": st.column_config.TextColumn("Action", width="small"),
            "changed": st.column_config.NumberColumn("Samples", format="localized", width="small"),
            "note": st.column_config.TextColumn("Why", width="large"),
            "who": st.column_config.TextColumn("Who", width="small"),
            "made_at": st.column_config.DatetimeColumn("When", format="distance", width="small"),
            "undone": st.column_config.CheckboxColumn("Undone", width="small"),
            "action": st.column_config.TextColumn("Id", width="small"),
        },
        alt="Actions, the latest first",
    )
    row: dict[str, Any] = actions.row(forms.chosen_row(state, actions.height) or 0, named=True)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            f"Undo no. {row['number']}: {row['kind']}", icon=":material/undo:", key="history_undo",
            disabled=row["undone"], help="It is undone already." if row["undone"] else None,
            on_click=_undo, args=(corpus, row["action"]),
        )  # fmt: skip
        st.caption("Click a row to choose another action. Undoing an undo does it again.")
    _samples_of(corpus, row["action"])


def _undo(corpus: Corpus, action: str) -> None:
    from curation.actions import undo

    try:
        report = undo(corpus, action)
    except WinnowError as error:
        st.session_state["history_problem"] = error
        return
    st.toast(f"Taken back for {report.changed:,} samples.")


def _samples_of(corpus: Corpus, action: str) -> None:
    rows = corpus.query(
        """WITH touched AS (
            SELECT id, coalesce(becomes.decision, '') AS decision, becomes.replaced_by AS replaced_by FROM changes
            WHERE action = ? AND (was IS NULL OR was.is_current OR becomes.replaced_by IS NOT NULL)
            UNION ALL SELECT id, if(becomes, '+ ', '- ') || tag, NULL FROM tag_changes WHERE action = ?)
        SELECT left(v.instruction, 200) AS instruction, left(v.response, 200) AS response, v.source, t.decision,
            t.replaced_by, v.id
        FROM touched t JOIN versions v USING (id) ORDER BY v.position LIMIT 100""",
        action,
        action,
    )
    if rows.is_empty():
        return
    st.markdown("**Samples it touched** (up to 100)")
    state = st.dataframe(
        rows,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        height="content" if rows.height <= 8 else 320,
        key=f"history_samples_{action}",
        column_order=["instruction", "response", "source", "decision"],
        column_config={
            "instruction": st.column_config.TextColumn("Instruction", width="medium"),
            "response": st.column_config.TextColumn("Response", width="medium"),
            "source": st.column_config.TextColumn("Source", width="small"),
            "decision": st.column_config.TextColumn("Became", width="small"),
        },
        alt="Samples that the action touched",
    )
    chosen = forms.chosen_row(state, rows.height)
    row = rows.row(chosen or 0, named=True)
    if row["replaced_by"]:
        _versions(corpus, row["id"], row["replaced_by"])
    forms.link("browse", "Read it on Browse", icon=":material/arrow_forward:", query={"sample": row["id"]})


def _versions(corpus: Corpus, old: str, new: str) -> None:
    from studio.pages.differences import show

    before, after = corpus.sample(old), corpus.sample(new)
    for place, (was, becomes) in enumerate(zip(before.messages, after.messages, strict=False)):
        if was != becomes:
            st.caption(f"Turn {place + 1}, {was.role}")
            if was.content != becomes.content:
                show(was.content, becomes.content)
            if was.reasoning != becomes.reasoning:
                st.caption("Reasoning")
                show(was.reasoning or "", becomes.reasoning or "")


def _snapshots(corpus: Corpus) -> None:
    from curation.snapshots import snapshots

    left, right = st.columns([3, 2], gap="large")
    with left:
        st.markdown("**Snapshots**")
        found = snapshots(corpus).reverse()
        if found.is_empty():
            st.caption("A snapshot remembers which samples are in, in which version, and why others are not.")
        else:
            st.dataframe(
                found,
                hide_index=True,
                height="content" if found.height <= 8 else 320,
                column_config={
                    "name": "Name",
                    "note": "Note",
                    "samples": st.column_config.NumberColumn("Samples", format="localized"),
                    "dropped": st.column_config.NumberColumn("Dropped", format="localized"),
                    "made_at": st.column_config.DatetimeColumn("When", format="distance"),
                },
                alt="Snapshots of the corpus",
            )
    with right:
        name = st.text_input("New snapshot", key="snapshot_name", placeholder="such as before-cleaning").strip()
        argv = ["snapshot", str(corpus.path), name or "NAME"]
        forms.command_box(
            corpus, argv, key="snapshot", label="Take a snapshot", disabled_reason=None if name else "Name it first."
        )


def _difference(corpus: Corpus) -> None:
    from curation.snapshots import NOW, sets

    st.subheader("What differs")
    known = list(sets(corpus))
    if len(known) < 2:
        st.caption("Take a snapshot, select, or export a mix: then two of them, or one and the corpus as it is now.")
        return
    left, right = st.columns(2)
    before = left.selectbox("Before", known, index=1, key=f"diff_before_{len(known)}")
    after = right.selectbox("After", known, index=0, key=f"diff_after_{len(known)}", help=f"{NOW}: the corpus as it is")
    st.code(jobs.command_line(["diff", str(corpus.path), before, after]), language="bash", wrap_lines=True)
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
        with st.spinner("Comparing"):
            kept = asked, diff(corpus, before, after, limit=MOST)
        st.session_state["history_diff"] = kept
    return kept[1]


def _show_difference(report: DiffReport) -> None:
    from curation.snapshots import summary

    cells = st.columns(4)
    for cell, name in zip(cells, ("same", "added", "removed", "changed"), strict=True):
        cell.metric(name.capitalize(), f"{getattr(report, name):,}")
    if report.rows.is_empty():
        st.caption("Both have the same samples.")
        return
    reasons, samples = st.columns([2, 3], gap="large")
    with reasons:
        st.markdown("**By reason**")
        st.dataframe(
            summary(report),
            hide_index=True,
            height="content" if len(summary(report)) <= 10 else 380,
            column_config={
                "change": st.column_config.TextColumn("Change", width="small"),
                "reason": st.column_config.TextColumn("Reason", width="medium"),
                "samples": st.column_config.NumberColumn("Samples", format="localized", width="small"),
            },
            alt="How many samples were added, removed or changed for which reason",
        )
    with samples:
        differing = report.added + report.removed + report.changed
        most = f" (the first {MOST:,})" if differing > report.rows.height else ""
        st.markdown(f"**Samples**{most}")
        st.dataframe(
            report.rows.select("change", "instruction", "source", "reason", "id"),
            hide_index=True,
            height="content" if report.rows.height <= 10 else 380,
            column_config={
                "change": st.column_config.TextColumn("Change", width="small"),
                "instruction": st.column_config.TextColumn("Instruction", width="medium"),
                "source": st.column_config.TextColumn("Source", width="small"),
                "reason": st.column_config.TextColumn("Reason", width="medium"),
                "id": st.column_config.TextColumn("Id", width="small"),
            },
            alt="Samples that were added, removed or changed",
        )

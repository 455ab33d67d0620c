"""One sample as a reader sees it: the conversation, its scores with reasons, and where it came from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.corpus import SAMPLE_COLUMNS
from curation.errors import CorpusError
from curation.sample import Message, Sample, from_row
from curation.storage.finding import MARKS
from curation.storage.sql import quoted, score_table
from studio import forms
from studio.components import marked_text
from studio.languages import language, mark, t, tn
from studio.pages import browsing, deciding, places, relatives, search_bar, versions
from studio.pages.conversations import Look, conversation
from studio.pages.known import known
from studio.pages.prose import visible
from studio.pages.spans import KINDS, MEANING, Highlight, highlight

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus

AS = {"formatted": mark("Formatted"), "stored": mark("As stored"), "changes": mark("Differences")}
FACTS = ("batch", "added_at", "held_out", "decision", "decision_reason", "turns", "script")
LONGEST_TOOLS = 20_000
"""Characters of a description of tools that are shown."""


@dataclass(frozen=True)
class Read:
    """A sample and what is known of it."""

    sample: Sample
    facts: dict[str, Any]
    is_current: bool
    replaced_by: str | None


@dataclass(frozen=True)
class Reading:
    """How samples are to be read."""

    stored: bool
    changes: bool
    kinds: Sequence[str]

    def of(self, corpus: Corpus, sample_id: str) -> list[Highlight]:
        """What is to be marked in a sample."""
        return [highlight(corpus, sample_id, kind) for kind in self.kinds]


def read(corpus: Corpus, sample_id: str) -> Read:
    """A sample with the facts about it, as it is now or as it was.

    Raises:
        CorpusError: no sample, or more than one, has this id.
    """
    found = read_all(corpus, [sample_id])
    if not found:
        whole = corpus.sample(sample_id).id  # a unique beginning of an id will do; else this says what is wrong
        if whole == sample_id:
            raise CorpusError(f"The sample {sample_id!r} can't be read.", fix="open the page again")
        return read(corpus, whole)
    return found[sample_id]


def read_all(corpus: Corpus, ids: Sequence[str]) -> dict[str, Read]:
    """Several samples by their whole ids; those that are not there are left out."""
    rows = places.read(corpus, _WHOLE, ids).iter_rows(named=True)
    return {row["id"]: Read(from_row(row), row, row["is_current"], row["replaced_by"]) for row in rows}


_STORED = ", ".join(f"samples.{quoted(name)}" for name in dict.fromkeys([*SAMPLE_COLUMNS, *FACTS]) if name not in MARKS)
# The view `versions` would do, but it joins all scores too, and has all tags of the corpus put together.
_WHOLE = f"""SELECT {_STORED}, states.decision, states.reason AS decision_reason, states.replaced_by,
    coalesce(states.is_current, true) AS is_current, tagged.tags, held_out.id IS NOT NULL AS held_out
FROM samples {places.JOIN} LEFT JOIN states ON states.id = samples.id
LEFT JOIN (SELECT id, list(tag ORDER BY tag) AS tags FROM tags SEMI JOIN asked_frame USING (id) GROUP BY id) tagged
    ON tagged.id = samples.id
LEFT JOIN held_out ON held_out.id = coalesce(samples.root, samples.id)"""


def pane(corpus: Corpus, read: Read) -> None:
    """Draw everything that is known of a sample."""
    sample = read.sample
    with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
        badges(read)
        if read.is_current and _is_embedded(corpus):
            st.button(
                t("More like this"), key=f"like-{sample.id}", icon=":material/travel_explore:", type="tertiary",
                on_click=search_bar.like, args=(sample.id,), help=t("Find the samples that mean nearly the same"),
            )  # fmt: skip
    if not read.is_current:
        _earlier(read.replaced_by)
    before = versions.earlier(corpus, sample.id)
    look = controls(sample, versions=bool(before))
    if look.changes and before:
        versions.draw(corpus, before[0], sample.messages, key=sample.id)
    else:
        _conversation(corpus, sample, look)
    _scores(corpus, sample.id)
    relatives.relatives(corpus, sample)
    relatives.lineage(corpus, sample, edited=bool(before) or not read.is_current)
    if sample.metadata:
        st.markdown(f"**{t('Metadata')}**")
        relatives.facts_as_json(read.facts["metadata"])
    relatives.choices(corpus, sample.id)
    relatives.origin(corpus, sample, read.facts)


def _is_embedded(corpus: Corpus) -> bool:
    return any((corpus.path / "embeddings").glob("*/about.json"))


def controls(sample: Sample, *, versions: bool) -> Reading:
    """How to read: formatted, as stored or as differences, and what to mark. It stays for the next sample."""
    ways = ["formatted", "stored", *(["changes"] if versions or sample.rejected is not None else [])]
    browsing.take_link("read", "read_as", browsing.one_of(list(AS)))
    browsing.take_link("marks", "read_marks", lambda asked: [kind for kind in asked.split(",") if kind in KINDS])
    # What this sample has not is asked for again at the next one, so the choice itself is kept apart.
    wanted = st.session_state.setdefault("read_as", "formatted")
    st.session_state[f"read_as_{len(ways)}"] = wanted if wanted in ways else "formatted"

    def chosen() -> None:
        st.session_state["read_as"] = st.session_state[f"read_as_{len(ways)}"]

    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        way = st.segmented_control(
            t("Show the text"), ways, key=f"read_as_{len(ways)}", required=True, format_func=lambda w: t(AS[w]),
            label_visibility="collapsed", on_change=chosen,
        )  # fmt: skip
        # In one box, so that the word goes to the next line together with what it names.
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", width="content"):
            st.caption(t("Highlight"), width="content")
            kinds = st.pills(
                t("Highlight"), list(KINDS), key="read_marks", selection_mode="multi", label_visibility="collapsed",
                format_func=lambda kind: t(KINDS[kind]), persist_state="session",
            )  # fmt: skip
    browsing.keep_link("read", wanted if wanted != "formatted" else None)
    browsing.keep_link("marks", ",".join(kinds) or None)
    return Reading(way == "stored", way == "changes", kinds)


def _conversation(corpus: Corpus, sample: Sample, reading: Reading) -> None:
    marks = reading.of(corpus, sample.id)
    there = {each.kind: t(MEANING[each.kind]) for each in marks if not each.missing}
    if there:
        marked_text.legend(there, key=f"legend-{sample.id}")
    for each in marks:
        _note(each, sample)
    if reading.changes and sample.rejected is not None:
        prompt, chosen = prompt_and_answers(sample)
        conversation(prompt, Look(highlights=marks, key=sample.id))
        versions.draw_sides(chosen, sample.rejected, key=sample.id)
    else:
        turns(sample, Look(stored=reading.stored, highlights=marks, key=sample.id))


def _note(found: Highlight, sample: Sample) -> None:
    if found.missing:
        told = t("{kind}: run the scorer {scorer} first.", kind=t(KINDS[found.kind]), scorer=found.missing)
        forms.link("score", told, icon=":material/speed:", query={"scorer": found.missing})
    elif found.other:
        forms.link("browse", found.note, icon=":material/content_copy:", query={"sample": found.other})
    elif found.note:
        st.caption(forms.plain(visible(found.note)))
    elif not any(found.find(m.content) for m in sample.messages):
        st.caption(t("No personal data was found in it."))


def _earlier(later: str | None) -> None:
    if later is None:
        st.info(t("The rewriting that made this version was undone."), icon=":material/history:")
        return
    st.info(t("This is an earlier version; it is in no working set."), icon=":material/history:")
    told = t("Read the version that replaced it")
    forms.link("browse", told, icon=":material/history:", query={"sample": later})


def badges(read: Read) -> None:
    """Draw what tells a sample at a glance: source, shape, script, decision, label, tags."""
    facts = read.facts
    named = {"source": t("Source"), "shape": t("Shape"), "script": t("Script")}
    for name, told in named.items():
        if facts[name]:
            st.badge(forms.plain(visible(facts[name][:80])), color="gray", help=told)
    if facts["held_out"]:
        st.badge(t("held out"), color="orange", icon=":material/lock:", help=t("Set aside for evaluation"))
    if facts["decision"]:
        kept = facts["decision"] == "keep"
        st.badge(
            forms.plain(decision(facts)), color="green" if kept else "red",
            icon=":material/check:" if kept else ":material/block:",
            help=t("Decided by hand or by a rule; the History page has who and when"),
        )  # fmt: skip
    if facts["label"] is not None:
        told = t("desirable") if facts["label"] else t("undesirable")
        st.badge(told, color="green" if facts["label"] else "red", help=t("Label"))
    for tag in read.sample.tags[:40]:
        st.badge(forms.plain(visible(tag[:80])), color="violet", icon=":material/sell:", help=t("Tag"))


def decision(facts: dict[str, Any]) -> str:
    """What was decided about a sample, and why, in words."""
    reason = visible((facts["decision_reason"] or "")[:200])
    reason = t(reason) if reason in deciding.REASONS else reason
    if facts["decision"] == "drop":
        return t("dropped: {reason}", reason=reason)
    return t("kept: {reason}", reason=reason) if reason else t("kept")


def prompt_and_answers(sample: Sample) -> tuple[Sequence[Message], Sequence[Message]]:
    """A preference sample's prompt, and the chosen turns that stand where the rejected ones would."""
    turns = sample.messages
    other = [m.role for m in sample.rejected or ()]
    for count in (len(other), 1):
        if [m.role for m in turns[len(turns) - count :]] == other or count == 1:
            return turns[: len(turns) - count], turns[len(turns) - count :]
    return turns, ()


def turns(sample: Sample, look: Look | None = None) -> None:
    """The conversation; of a preference sample both answers, side by side."""
    if sample.tools:
        with st.expander(t("Tools it may call"), icon=":material/build:"):
            st.code(visible(_indented(sample.tools)[:LONGEST_TOOLS]), language=None, wrap_lines=True)
    if sample.rejected is None:
        conversation(sample.messages, look)
        return
    prompt, chosen = prompt_and_answers(sample)
    conversation(prompt, look)
    better, worse = st.columns(2)
    with better:
        versions.answer_badge(chosen=True)
        conversation(chosen, look, place="chosen")
    with worse:
        versions.answer_badge(chosen=False)
        conversation(sample.rejected, look, place="rejected")


def _indented(text: str) -> str:
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return text


def scores_of(corpus: Corpus, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Sample -> score -> value, for samples as they are or were."""
    there = kept_scores(corpus)
    if missing := [sample_id for sample_id in ids if sample_id not in there]:
        names = ", ".join(map(quoted, ["id", *stored_scores(corpus)]))
        found = places.read(corpus, f"SELECT {names} FROM everything {places.JOIN}", missing)
        if found.height < len(missing):  # earlier versions among them
            found = places.read(corpus, f"SELECT {names} FROM versions {places.JOIN}", missing)
        there.update(by_id(found))
    return {sample_id: there[sample_id] for sample_id in ids if sample_id in there}


def kept_scores(corpus: Corpus) -> dict[str, dict[str, Any]]:
    """Sample -> score -> value, as far as they were asked for since something was written; to be filled."""
    # Who fills it has it from before they ask: what they were told may be older than what is kept after a write.
    return known(corpus, "scores of samples", dict[str, dict[str, Any]])


def by_id(found: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Rows by their id."""
    return {row["id"]: row for row in found.iter_rows(named=True)}


def stored_scores(corpus: Corpus) -> list[str]:
    """The score columns that there are: a run that ended before its first shard has none yet."""
    columns = known(corpus, "columns", corpus.columns)
    return [name for name in score_places(corpus) if name in columns]


def score_places(corpus: Corpus) -> dict[str, int]:
    """Every score column -> the place of its scoring run among `score_runs`."""
    columns: dict[str, int] = {}
    for place, run in enumerate(known(corpus, "score runs", corpus.score_runs)):
        for column in run.columns:
            columns.setdefault(column, place)
    return columns


def why_not(corpus: Corpus, sample_id: str, columns: Iterable[str]) -> dict[str, str]:
    """Score column -> why a sample has no value of it."""
    runs, of = known(corpus, "score runs", corpus.score_runs), score_places(corpus)
    asked = sorted({of[column] for column in columns})
    if not asked:
        return {}
    joins = "".join(f" LEFT JOIN {score_table(runs[n].run)} r{n} ON r{n}.id = k.id" for n in asked)
    reasons = ", ".join(f"r{n}.reason AS reason{n}, r{n}.id IS NOT NULL AS scored{n}" for n in asked)
    row = corpus.query(f"SELECT {reasons} FROM (SELECT ? AS id) k{joins}", sample_id).row(0, named=True)
    told = {n: (row[f"reason{n}"] or t("no value")) if row[f"scored{n}"] else t("not scored yet") for n in asked}
    return {column: told[of[column]] for column in columns}


def number(value: Any) -> str:
    """A score as it is read."""
    if value is None:
        return t("none")
    if isinstance(value, bool):
        return t("yes") if value else t("no")
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if isinstance(value, float) else str(value)


def _scores(corpus: Corpus, sample_id: str) -> None:
    st.markdown(f"**{t('Scores')}**")
    columns = score_places(corpus)
    if not columns:
        st.caption(t("Nothing is scored yet."))
        return
    values = scores_of(corpus, [sample_id]).get(sample_id, {})
    told = [_badge(column, values[column]) for column in columns if not _is_unset(values.get(column))]
    if told:
        st.markdown(" ".join(told))
    if clear := [column for column in columns if values.get(column) is False]:
        st.caption(forms.plain(t("Flags that are not set: {names}", names=", ".join(clear))))
    if missing := [column for column in columns if values.get(column) is None]:
        _missing(corpus, sample_id, missing)


def _is_unset(value: Any) -> bool:
    return value is None or value is False  # 0 is a value


def _badge(score: str, value: Any) -> str:
    # As Markdown in one element: an element for each of thirty scores would be slow.
    if value is True:
        return f":orange-badge[:material/flag: {forms.plain(score)}]"
    return f":blue-badge[{forms.plain(visible(f'{score}: {number(value)}'[:240]))}]"


def _missing(corpus: Corpus, sample_id: str, columns: Sequence[str]) -> None:
    said = tn("{n} score has no value here", "{n:,} scores have no value here", len(columns))
    with st.expander(said, icon=":material/help:", on_change="rerun", key="read_missing") as shown:
        if not shown.open:  # the reasons lie with the scoring runs, where they take a while to find
            return
        reasons = known(corpus, f"why {sample_id} in {language()}", lambda: why_not(corpus, sample_id, columns))
        st.dataframe(
            [{"score": score, "why": why} for score, why in reasons.items()],
            hide_index=True,
            height="content",
            row_height=28,
            column_config={"score": t("Not measured"), "why": t("Why")},
            alt=t("Scores that this sample has no value for, with the reason"),
        )

"""Deciding by hand: keep, drop, tag and rewrite samples, each an action that can be undone (`curation.actions`)."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from curation.actions import ActionReport, begun, changed, checked, replace_samples, state_of, tagged
from curation.corpus import Corpus
from curation.errors import CorpusError
from curation.sample import Message
from curation.storage.sql import condition, literal


def drop(
    corpus: Corpus, *, where: str | None = None, ids: Iterable[str] | None = None, reason: str, who: str | None = None
) -> ActionReport:
    """Leave samples out of every working set, so of scoring, selections and mixes; they stay in the corpus.

    Args:
        corpus: whose samples.
        where: a SQL condition on them.
        ids: or the samples themselves.
        reason: why; shown wherever the sample is.
        who: decided it; the name of the user when null.

    Raises:
        CorpusError: the condition is wrong, both or neither of `where` and `ids` are given, or the reason is empty.
    """
    return _decide(corpus, "drop", where, ids, reason, who)


def keep(
    corpus: Corpus,
    *,
    where: str | None = None,
    ids: Iterable[str] | None = None,
    note: str = "",
    who: str | None = None,
) -> ActionReport:
    """Mark samples as wanted, which also takes back that they were dropped; arguments as for `drop`."""
    return _decide(corpus, "keep", where, ids, note, who)


def clear(
    corpus: Corpus,
    *,
    where: str | None = None,
    ids: Iterable[str] | None = None,
    note: str = "",
    who: str | None = None,
) -> ActionReport:
    """Take back what was decided, so that samples are neither kept nor dropped; arguments as for `drop`."""
    return _decide(corpus, "clear", where, ids, note, who)


def _decide(
    corpus: Corpus, kind: str, where: str | None, ids: Iterable[str] | None, reason: str, who: str | None
) -> ActionReport:
    if kind == "drop" and not reason.strip():
        raise CorpusError("Dropping needs a reason.", fix='say why: --reason "repeats another sample"')
    decision = None if kind == "clear" else kind
    fields = f"'decision': {_text(decision)}, 'reason': {_text(reason.strip() or None)}"
    state = f"{{{fields}, 'replaced_by': NULL, 'is_current': true}}"
    action = uuid.uuid4().hex[:12]
    targets, frames = targets_of(corpus, where, ids)
    counts = _act(
        corpus,
        targets,
        *begun(action, kind, who, reason.strip()),
        *changed(
            action,
            f"SELECT t.id, {state_of('s')} AS was, {state} AS becomes FROM targets t LEFT JOIN states s USING (id)",
        ),
        frames=frames,
        count=f"SELECT (SELECT count(*) FROM changes WHERE action = '{action}') AS changed, "
        "(SELECT count(*) FROM targets) AS asked",
    )
    return _report(corpus, action, kind, counts)


def tag(
    corpus: Corpus,
    name: str,
    *,
    where: str | None = None,
    ids: Iterable[str] | None = None,
    note: str = "",
    who: str | None = None,
) -> ActionReport:
    """Give samples a tag; arguments as for `drop`."""
    return _tagged(corpus, name, where, ids, note, who, becomes=True)


def untag(
    corpus: Corpus,
    name: str,
    *,
    where: str | None = None,
    ids: Iterable[str] | None = None,
    note: str = "",
    who: str | None = None,
) -> ActionReport:
    """Take a tag away, whoever gave it; arguments as for `drop`."""
    return _tagged(corpus, name, where, ids, note, who, becomes=False)


def _tagged(
    corpus: Corpus,
    name: str,
    where: str | None,
    ids: Iterable[str] | None,
    note: str,
    who: str | None,
    *,
    becomes: bool,
) -> ActionReport:
    name = name.strip()
    if not name:
        raise CorpusError("A tag needs a name.", fix="give one, such as: good")
    kind, action = "tag" if becomes else "untag", uuid.uuid4().hex[:12]
    targets, frames = targets_of(corpus, where, ids)
    counts = _act(
        corpus,
        targets,
        *begun(action, kind, who, note.strip() or name),
        *tagged(
            action,
            f"""SELECT t.id, {_text(name)} AS tag, coalesce(k.origin, 'hand') AS origin, NOT {becomes} AS was,
                {becomes} AS becomes
            FROM targets t LEFT JOIN tags k ON k.id = t.id AND k.tag = {_text(name)}
            WHERE (k.id IS NOT NULL) <> {becomes}""",
        ),
        frames=frames,
        count=f"SELECT (SELECT count(*) FROM tag_changes WHERE action = '{action}') AS changed, "
        "(SELECT count(*) FROM targets) AS asked",
    )
    return _report(corpus, action, kind, counts)


def edit(
    corpus: Corpus,
    sample_id: str,
    *,
    instruction: str | None = None,
    response: str | None = None,
    messages: Sequence[Message] | None = None,
    rejected: Sequence[Message] | None = None,
    note: str = "",
    who: str | None = None,
) -> ActionReport:
    """Rewrite a sample: the new text is a new version, with the place, source, tags and marks of the old one.

    Args:
        corpus: whose sample.
        sample_id: its id or a unique beginning of it.
        instruction: the user's turn, where there is only one.
        response: the last answer.
        messages: or all turns.
        rejected: the turns that were not preferred, of a preference pair.
        note: why.
        who: did it; the name of the user when null.

    Raises:
        CorpusError: there is no such sample, it was replaced already, or it has not the turn that is meant.
    """
    old = corpus.sample(sample_id)
    if corpus.query("SELECT count(*) AS n FROM everything WHERE id = ?", old.id).item() == 0:
        raise CorpusError(
            f"The sample {old.id} is an earlier version.", fix=f"edit the latest: winnow why {corpus.path} {old.id}"
        )
    turns = tuple(messages) if messages is not None else old.messages
    if instruction is not None:
        turns = _with_turn(turns, "user", instruction, last=False)
    if response is not None:
        turns = _with_turn(turns, "assistant", response, last=True)
    new = dataclasses.replace(old, messages=turns, rejected=tuple(rejected) if rejected is not None else old.rejected)
    action = uuid.uuid4().hex[:12]
    for message in (*new.messages, *(new.rejected or ())):
        checked(message.content)
    if not any(m.content.strip() or m.tool_calls for m in new.messages):
        raise CorpusError("The sample would have no text.", fix="drop it instead: winnow drop CORPUS --id ID")
    replaced = replace_samples(
        corpus, action, "edit", {old.id: new}, operator='{"name": "edit"}', who=who, note=note, revive=True
    )
    if not replaced and new.id != old.id:
        raise CorpusError(f"The sample {old.id} was rewritten meanwhile.", fix="read it again, then edit that version")
    return _report(corpus, action, "edit", (replaced, 1))


def _with_turn(turns: tuple[Message, ...], role: str, content: str, *, last: bool) -> tuple[Message, ...]:
    places = [i for i, m in enumerate(turns) if m.role == role]
    if not places or (not last and len(places) > 1):
        many = "no turn" if not places else f"{len(places)} turns"
        raise CorpusError(f"The sample has {many} of the {role}.", fix="give all its messages")
    place = places[-1]
    return (*turns[:place], turns[place]._replace(content=content), *turns[place + 1 :])


def targets_of(corpus: Corpus, where: str | None, ids: Iterable[str] | None) -> tuple[str, dict[str, pl.DataFrame]]:
    """A query of the ids of the samples that are meant, and the frames it reads.

    Raises:
        CorpusError: both or neither are given, or an id is of no current sample.
    """
    if (where is None) == (ids is None):
        raise CorpusError("Give either a condition or ids.", fix="add --where SQL, or the ids of samples")
    if where is not None:
        if not where.strip():
            raise CorpusError("The condition is empty.", fix="write --where true where every sample is meant")
        return f"SELECT id FROM everything{condition(where)}", {}
    frame = pl.DataFrame({"id": [] if ids is None else list(ids)}, schema={"id": pl.String}).unique(maintain_order=True)
    missing = corpus.run("SELECT id FROM asked_frame ANTI JOIN everything USING (id)", frames={"asked_frame": frame})
    if missing.height:
        raise CorpusError(
            f"{missing.height:,} of the ids are of no current sample, such as {missing['id'][0]!r}.",
            fix=f"see what became of it: winnow why {corpus.path} {missing['id'][0]}",
        )
    return "SELECT id FROM asked_frame", {"asked_frame": frame}


def _act(
    corpus: Corpus, targets: str, *statements: Any, frames: dict[str, pl.DataFrame], count: str
) -> tuple[int, int]:
    result = corpus.run(f"CREATE OR REPLACE TEMP TABLE targets AS {targets}", *statements, count, frames=frames)
    changed_now, asked = int(result["changed"][0]), int(result["asked"][0])
    return changed_now, max(asked, changed_now)  # a request that is sent again finds none left to ask


def _report(corpus: Corpus, action: str, kind: str, counts: tuple[int, int]) -> ActionReport:
    changed, asked = counts
    if not changed:  # an action that changed nothing is none
        corpus.database.run(("DELETE FROM actions WHERE action = ?", [action]))
    return ActionReport(action if changed else "", kind, changed, asked - changed)


def _text(value: str | None) -> str:
    return "NULL" if value is None else literal(checked(value))

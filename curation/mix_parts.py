"""Which samples each part of a mix gives."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from curation.corpus import Corpus
from curation.errors import CorpusError
from curation.mix_recipes import Mix, Part
from curation.storage.sql import working
from curation.tracing import current_versions


def shuffled(ids: Iterable[str], seed: int) -> list[str]:
    """Ids in an order that depends on the seed and on nothing else: not on how they came."""
    return sorted(ids, key=lambda i: hashlib.sha256(f"{seed}/{i}".encode()).digest())


def chosen(corpus: Corpus, mix: Mix, pools: Sequence[Sequence[str]]) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Each sample that is taken with the place of its part, and what every part gave."""
    taken: dict[str, int] = {}
    rows = [0] * len(mix.parts)
    for place, part in enumerate(mix.parts):
        if part.weight is not None:
            continue
        fresh = [i for i in pools[place] if i not in taken]
        if part.rows is not None and len(fresh) < part.rows:
            raise CorpusError(
                f"{part.rows:,} are asked for of {_called(part)!r}, which has {len(fresh):,} left.",
                fix=f"ask for at most {len(fresh)} rows" if fresh else "leave the part out",
            )
        rows[place] = len(fresh) if part.rows is None else part.rows
        taken.update(dict.fromkeys(fresh[: rows[place]], place))
    for place, ids in _weighted(mix.parts, pools, set(taken)).items():
        rows[place] = len(ids)
        taken.update(dict.fromkeys(ids, place))
    given = [
        {"rows": count, "available": len(pool), **_repeated(part), **_described(corpus, part)}
        for part, pool, count in zip(mix.parts, pools, rows, strict=True)
    ]
    return taken, given


def times_of(mix: Mix, pools: Sequence[Sequence[str]], taken: Mapping[str, int]) -> dict[str, int]:
    """How often a sample comes, for those that come more than once.

    A part that is taken as a whole repeats all its samples, those too that an earlier part gave: so a mix and a part of
    it that is repeated make a mix in which that part has more weight. Else a part repeats what it gave itself.
    """
    times: dict[str, int] = {}
    for place, part in enumerate(mix.parts):
        if part.times == 1:
            continue
        whole = part.rows is None and part.weight is None
        for i in pools[place]:
            if whole or taken.get(i) == place:
                times[i] = max(times.get(i, 1), part.times)
    return times


def _repeated(part: Part) -> dict[str, int]:
    return {"times": part.times} if part.times > 1 else {}


def _weighted(parts: Sequence[Part], pools: Sequence[Sequence[str]], taken: set[str]) -> dict[int, list[str]]:
    """Place of each weighted part -> its samples; they take turns by weight until the first is used up.

    A sample that several parts have goes to the one whose turn it is, so that no part starves another, whichever is
    written first.
    """
    weights = {place: part.weight for place, part in enumerate(parts) if part.weight is not None}
    fresh = {place: iter(pools[place]) for place in weights}
    given: dict[int, list[str]] = {place: [] for place in weights}
    while weights:
        turn = min(weights, key=lambda p: ((len(given[p]) + 1) / weights[p], _called(parts[p])))
        following = next((i for i in fresh[turn] if i not in taken), None)
        if following is None:
            break
        given[turn].append(following)
        taken.add(following)
    for place, ids in given.items():
        if not ids:
            raise _starved(parts[place], parts[turn], empty=not pools[place])
    return given


def _starved(part: Part, used_up: Part, *, empty: bool) -> CorpusError:
    if part != used_up:
        return CorpusError(
            f"The part {_called(part)!r} gets no sample: {_called(used_up)!r} is used up before its first turn.",
            fix="give weights that are less far apart, or rows instead",
        )
    why = "it has none that are not held out" if empty else "the other parts took them all"
    return CorpusError(f"The part {_called(part)!r} has no sample left to give: {why}.", fix="leave it out")


def _called(part: Part) -> str:
    return part.selection or part.where or ""


def pools_of(corpus: Corpus, mix: Mix) -> tuple[list[list[str]], list[str]]:
    """The candidates of each part as they are now, and notes on those of selections that changed since."""
    alive = set(corpus.frame(["id"], where=working(None))["id"])
    chosen = {p.selection: corpus.selection(p.selection).ids for p in mix.parts if p.selection is not None}
    every = {i for ids in chosen.values() for i in ids}
    current = current_versions(corpus, every)
    pools = []
    for part in mix.parts:
        if part.selection is None:
            pools.append(shuffled(corpus.frame(["id"], where=working(part.where))["id"].to_list(), mix.seed))
        else:
            now = dict.fromkeys(current.get(i, i) for i in chosen[part.selection])
            pools.append([i for i in now if i in alive])
    return pools, _changed_notes(corpus, every, current, alive)


def _changed_notes(corpus: Corpus, chosen: set[str], current: Mapping[str, str], alive: set[str]) -> list[str]:
    withdrawn = set(corpus.query("SELECT id FROM states WHERE NOT is_current AND replaced_by IS NULL")["id"])
    of_selections = "samples of the selections"
    told = {
        f"{of_selections} were rewritten since: their latest version is taken": current.keys() - withdrawn,
        f"{of_selections} had their rewriting undone since: the version before it is taken": current.keys() & withdrawn,
        f"{of_selections} were dropped since, and are left out": {current.get(i, i) for i in chosen} - alive,
    }
    return [f"{len(ids):,} {what}" for what, ids in told.items() if ids]


def _described(corpus: Corpus, part: Part) -> dict[str, Any]:
    if part.selection is None:
        return {"where": part.where}
    saved = corpus.selection(part.selection)
    return {
        "selection": saved.name,
        "operator": saved.operator,
        "budget": saved.budget,
        "working_set": saved.working_set,
    }

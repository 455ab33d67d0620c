"""Many tags first, and new ones in every pass."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from curation.operators import Pool, Selection, Selector
from curation.subsets.ranking import chosen, enough
from curation.subsets.tag_lists import TagLists, tag_lists


class InstagDiverse(Selector):
    """Samples with the most tags first, each of which must bring a tag that is new in its pass over the pool.

    Source: InsTag, Lu et al. 2024, arXiv:2308.07074, algorithm 1 (complexity-first diverse sampling, C-F D).

    Differs from the source: samples with equally many tags come by id; a sample without tags never qualifies, where the
    published loop would not end.
    """

    name: ClassVar[str] = "instag-diverse"

    tags: str = Field("instag_normalized", min_length=1, description="Column of tags; also the corpus' own `tags`")

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.tags,)

    def select(self, pool: Pool, budget: int) -> Selection:
        lists = tag_lists(pool.frame[self.tags])
        counts = lists.counts
        tagged = int((counts > 0).sum())
        enough(self.name, tagged, budget, pool, f"have a tag in {self.tags!r}", "tag more samples")
        order, passes = complexity_first(lists, budget)
        times = f"{passes} passes" if passes > 1 else "1 pass"

        def reason(row: int) -> str:
            if not counts[row]:
                return f"no tag in {self.tags}"
            return f"its tags were not new when its turn came: {counts[row]} of them, {times}"

        return chosen(pool, order, reason)


def complexity_first(lists: TagLists, budget: int) -> tuple[list[int], int]:
    """Algorithm 1 of InsTag: the rows in the order taken, and the passes begun.

    A pass goes through what is left, most tags first, and takes a row that has a tag not seen in this pass. Such a row
    is always the first one left of some tag: only those are looked at, so that a pass costs as many steps as there are
    tags, however many rows there are.

    Args:
        lists: tags per row.
        budget: rows to take; fewer come back where fewer have tags.
    """
    ranked = np.argsort(-lists.counts, kind="stable")
    place = np.empty(len(ranked), np.int64)
    place[ranked] = np.arange(len(ranked))
    by_tag = np.lexsort((place[lists.rows], lists.codes))
    holders = place[lists.rows][by_tag]  # of each tag, the places in `ranked` of the rows that have it, ascending
    ends = np.cumsum(np.bincount(lists.codes, minlength=len(lists.names)))
    at = ends - np.bincount(lists.codes, minlength=len(lists.names))
    taken = np.zeros(len(ranked), bool)
    order: list[int] = []
    passes = 0
    while len(order) < budget:
        first = _first_left(at, ends, holders, taken)
        if not len(first):
            break  # only rows without tags are left
        passes += 1
        seen = np.zeros(len(lists.names), bool)
        for tag in first:
            if not seen[tag]:
                row = int(ranked[holders[at[tag]]])
                taken[holders[at[tag]]] = True
                seen[lists.codes[lists.starts[row] : lists.starts[row + 1]]] = True
                order.append(row)
                if len(order) == budget:
                    break
    return order, passes


def _first_left(at: np.ndarray, ends: np.ndarray, holders: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Move every tag's place in `holders` to the first row that is left; the tags that have one, in their order."""
    tags = np.flatnonzero(at < ends)
    moving = tags
    while len(moving):
        moving = moving[taken[holders[at[moving]]]]
        at[moving] += 1
        moving = moving[at[moving] < ends[moving]]
    tags = tags[at[tags] < ends[tags]]
    by_place: np.ndarray = tags[np.argsort(holders[at[tags]], kind="stable")]
    return by_place

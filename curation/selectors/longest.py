"""The other baseline that is hard to beat."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from curation.operators import Pool, Selection, Selector


class Longest(Selector):
    """The samples with the longest answers.

    Source: Zhao et al. 2024, "Long Is More for Alignment", arXiv:2402.04833 (1,000 longest of Alpaca).

    Differs from the source: length in characters, not in tokens of one tokenizer; ties by id.
    """

    name: ClassVar[str] = "longest"

    @property
    def needs(self) -> tuple[str, ...]:
        return ("response_chars",)

    def select(self, pool: Pool, budget: int) -> Selection:
        lengths = pool.frame["response_chars"].fill_null(0).to_numpy()
        order = np.argsort(-lengths, kind="stable")
        ids = pool.frame["id"].to_list()
        shortest = lengths[order[budget - 1]]
        reason = f"answer of {{}} characters; the shortest chosen has {shortest}"
        return Selection([ids[i] for i in order[:budget]], {ids[i]: reason.format(lengths[i]) for i in order[budget:]})

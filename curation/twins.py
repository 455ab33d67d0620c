"""Twins: samples that ask the same. One that is trained on gives away the others, so they are held out together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from curation.corpus import Corpus

QUESTION = r"""
CASE WHEN trim(instruction) = '' THEN id
    ELSE md5(trim(lower(regexp_replace(instruction, '[\s\p{Z}]+', ' ', 'g')))) END"""
"""SQL: equal for samples whose instructions differ in nothing but case and white space; no instruction has no twin."""


def with_twins(corpus: Corpus, ids: Iterable[str]) -> set[str]:
    """The ids, and those of every sample of the corpus that asks what one of them asks."""
    asked = pl.DataFrame({"id": list(ids)}, schema={"id": pl.String})
    if asked.is_empty():
        return set()
    found = corpus.database.run(
        f"""WITH questions AS (SELECT id, {QUESTION} AS question FROM samples)
        SELECT id FROM questions WHERE question IN (SELECT question FROM questions SEMI JOIN asked_frame USING (id))""",
        frames={"asked_frame": asked},
    )
    return set(found["id"])

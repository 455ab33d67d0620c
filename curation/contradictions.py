"""Contradictions: a sample of a batch and an earlier one that ask the same and answer otherwise.

The same question in the same context (system prompt, earlier answers, tools); case and white space do not count, either
in the question or in the answer. Preference pairs and answers that were judged bad contradict nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from curation.corpus import Corpus
from curation.deciding import drop, tag
from curation.errors import CorpusError, unknown
from curation.storage.sql import working
from curation.twins import QUESTION

POLICIES = ("keep-both", "newest", "review")
"""What becomes of a contradiction: nothing, the older sample is dropped, or both are tagged."""

TAG = "contradiction"
WHO = "arrivals"

_SAID = r"md5(trim(lower(regexp_replace(response, '[\s\p{Z}]+', ' ', 'g'))))"
_ASKED = f"""
CREATE OR REPLACE TEMP TABLE asked AS
SELECT id, position, batch, {QUESTION} AS question
FROM everything
WHERE {working(None)} AND rejected IS NULL AND label IS DISTINCT FROM false
    AND trim(instruction) <> '' AND trim(response) <> ''"""
_SHARED = """
CREATE OR REPLACE TEMP TABLE shared AS
SELECT id, position, question, batch = ? AS is_new FROM asked
WHERE question IN (SELECT question FROM asked WHERE batch = ?)
    AND (batch = ? OR position < (SELECT min(position) FROM asked WHERE batch = ?))"""
# The context of a plain pair is nothing, so is that of any other sample with nothing around its question.
_PAIRS = f"""
WITH said AS (
    SELECT shared.*, {_SAID} AS answer, instruction, response,
        coalesce(tools, '') || coalesce(nullif(list_filter(messages[:-2], lambda m: m.role <> 'user'), [])::VARCHAR, '')
            AS context
    FROM shared JOIN everything USING (id)
    WHERE question IN (SELECT question FROM shared GROUP BY question HAVING count(DISTINCT is_new) = 2))
SELECT new.id AS new, old.id AS old, old.instruction AS question, new.response AS new_answer,
    old.response AS old_answer
FROM said new JOIN said old USING (question, context)
WHERE new.is_new AND NOT old.is_new AND new.answer <> old.answer
ORDER BY new.position, old.position"""


@dataclass(frozen=True)
class Contradiction:
    """One question with two answers."""

    question: str
    new: str
    """Id of the sample of the batch."""
    new_answer: str
    old: str
    """Id of the earlier sample."""
    old_answer: str


def contradictions(corpus: Corpus, batch: str) -> pl.DataFrame:
    """Pairs of a sample of the batch and an earlier one: new, old, question, new_answer, old_answer; kept samples only.

    A sample is in as many pairs as there are others that it contradicts; pairs are in the order of ingestion.
    """
    return corpus.database.run(_ASKED, (_SHARED, [batch] * 4), _PAIRS)


def settle(corpus: Corpus, pairs: pl.DataFrame, policy: str, batch: str) -> tuple[int, int]:
    """Do with contradictions what the policy says: how many samples were dropped, and how many tagged.

    Raises:
        CorpusError: no such policy.
    """
    if policy not in POLICIES:
        raise unknown("policy", policy, POLICIES, CorpusError)
    if pairs.is_empty() or policy == "keep-both":
        return 0, 0
    if policy == "newest":
        reason = f"a newer answer came with batch {batch}"
        return drop(corpus, ids=pairs["old"].unique(maintain_order=True), reason=reason, who=WHO).changed, 0
    both = pl.concat([pairs["old"], pairs["new"]]).unique(maintain_order=True)
    return 0, tag(corpus, TAG, ids=both, note=f"another answer came with batch {batch}", who=WHO).changed


def listed(pairs: pl.DataFrame) -> Iterable[Contradiction]:
    """The pairs one by one."""
    return (Contradiction(**row) for row in pairs.iter_rows(named=True))

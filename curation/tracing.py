"""Tracing: from a version of a sample to the ones before and after it, also where a rewriting was undone in between."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from curation.corpus import Corpus

TRACES = """
live AS (SELECT id, replaced_by AS following FROM states WHERE NOT is_current AND replaced_by IS NOT NULL),
made AS (SELECT id, becomes.replaced_by AS following, action FROM changes WHERE becomes.replaced_by IS NOT NULL),
withdrawn AS (SELECT id FROM states WHERE NOT is_current AND replaced_by IS NULL),
origins AS (
    SELECT id AS start, id FROM starts
    UNION
    SELECT o.start, m.id FROM origins o SEMI JOIN withdrawn USING (id) JOIN made m ON m.following = o.id),
steps AS (
    SELECT start, id, NULL::VARCHAR AS via FROM origins
    UNION
    SELECT s.start, l.following, l.id FROM steps s JOIN live l USING (id))"""
"""SQL of a WITH RECURSIVE: traces of the ids in `starts`.

live, made: what stands in the place of a sample now (`following`), and what ever did, by which action.
origins: an id and, where its rewriting was undone, the versions that it was made of.
steps: those, and all that has taken their place since, `via` the version before (null for an origin).
"""


def current_versions(corpus: Corpus, ids: Iterable[str]) -> dict[str, str]:
    """The ids that are not samples of the corpus any more -> the sample that stands for them now.

    That is the latest version, or where a rewriting was undone the one before it; ids that have neither are left out.
    """
    found = corpus.database.run(
        f"""WITH RECURSIVE starts AS (
            SELECT DISTINCT a.id FROM asked_frame a JOIN states s USING (id) WHERE NOT s.is_current), {TRACES}
        SELECT start, arg_min(id, (position, id)) AS id FROM steps JOIN everything USING (id) GROUP BY start""",
        frames={"asked_frame": pl.DataFrame({"id": list(ids)}, schema={"id": pl.String})},
    )
    return dict(found.iter_rows())

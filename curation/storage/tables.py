"""The tables of a corpus database, and the SQL that keeps the derived ones in step."""

from __future__ import annotations

from collections.abc import Iterable

import duckdb

TABLES = """
CREATE TABLE IF NOT EXISTS samples (
    position BIGINT, id VARCHAR,
    messages STRUCT("role" VARCHAR, "content" VARCHAR, reasoning VARCHAR, tool_calls VARCHAR)[],
    rejected STRUCT("role" VARCHAR, "content" VARCHAR, reasoning VARCHAR, tool_calls VARCHAR)[],
    label BOOLEAN, tools VARCHAR, instruction VARCHAR, response VARCHAR, shape VARCHAR, source VARCHAR,
    "row" BIGINT, parents VARCHAR[], operator VARCHAR, metadata VARCHAR, turns INTEGER, response_chars INTEGER,
    script VARCHAR, batch VARCHAR, added_at TIMESTAMP, root VARCHAR);
CREATE TABLE IF NOT EXISTS duplicates (
    id VARCHAR, source VARCHAR, "row" BIGINT, metadata VARCHAR, batch VARCHAR, added_at TIMESTAMP);
CREATE TABLE IF NOT EXISTS rejected ("file" VARCHAR, line BIGINT, reason VARCHAR, "text" VARCHAR, batch VARCHAR,
    added_at TIMESTAMP);
CREATE TABLE IF NOT EXISTS batches (batch VARCHAR, "file" VARCHAR, sha256 VARCHAR, shape VARCHAR, added BIGINT,
    duplicates BIGINT, rejected BIGINT, added_at TIMESTAMP);
CREATE TABLE IF NOT EXISTS tags (id VARCHAR, tag VARCHAR, origin VARCHAR, added_at TIMESTAMP);
CREATE TABLE IF NOT EXISTS held_out (id VARCHAR, added_at TIMESTAMP);
CREATE TABLE IF NOT EXISTS score_runs (run VARCHAR, scorer VARCHAR, operator VARCHAR, model VARCHAR,
    columns VARCHAR[], types VARCHAR[], started_at TIMESTAMP, used_at TIMESTAMP);
CREATE TABLE IF NOT EXISTS scores (id VARCHAR);
CREATE TABLE IF NOT EXISTS shards (run VARCHAR, shard VARCHAR, "rows" BIGINT, taken_at TIMESTAMP);
CREATE TABLE IF NOT EXISTS selections (name VARCHAR, operator VARCHAR, budget BIGINT, working_set VARCHAR, pool BIGINT,
    created_at TIMESTAMP);
CREATE TABLE IF NOT EXISTS selected (name VARCHAR, "rank" BIGINT, id VARCHAR);
CREATE TABLE IF NOT EXISTS not_selected (name VARCHAR, id VARCHAR, reason VARCHAR);
CREATE TABLE IF NOT EXISTS mixes (name VARCHAR, manifest VARCHAR, created_at TIMESTAMP);
CREATE TABLE IF NOT EXISTS mixed (name VARCHAR, id VARCHAR);
CREATE TABLE IF NOT EXISTS snapshots (name VARCHAR, note VARCHAR, samples BIGINT, dropped BIGINT, made_at TIMESTAMP);
CREATE TABLE IF NOT EXISTS snapshot_members (name VARCHAR, id VARCHAR, dropped_because VARCHAR);
CREATE TABLE IF NOT EXISTS actions ("number" BIGINT, action VARCHAR, kind VARCHAR, who VARCHAR, note VARCHAR,
    operator VARCHAR, undoes VARCHAR, made_at TIMESTAMP);
CREATE TABLE IF NOT EXISTS changes (action VARCHAR, id VARCHAR,
    was STRUCT(decision VARCHAR, reason VARCHAR, replaced_by VARCHAR, is_current BOOLEAN),
    becomes STRUCT(decision VARCHAR, reason VARCHAR, replaced_by VARCHAR, is_current BOOLEAN));
CREATE TABLE IF NOT EXISTS tag_changes (action VARCHAR, id VARCHAR, tag VARCHAR, origin VARCHAR, was BOOLEAN,
    becomes BOOLEAN);
CREATE TABLE IF NOT EXISTS states (id VARCHAR, decision VARCHAR, reason VARCHAR, replaced_by VARCHAR,
    is_current BOOLEAN);
CREATE TABLE IF NOT EXISTS synthesis_runs (run VARCHAR, operator VARCHAR, model VARCHAR, started_at TIMESTAMP);
CREATE TABLE IF NOT EXISTS synthesis_rejected (run VARCHAR, id VARCHAR, instruction VARCHAR, response VARCHAR,
    parents VARCHAR[], rejected_by VARCHAR, detail VARCHAR, metadata VARCHAR, added_at TIMESTAMP);
CREATE TABLE IF NOT EXISTS questions (question VARCHAR, kind VARCHAR, "text" VARCHAR, answers VARCHAR[], who VARCHAR,
    made_at TIMESTAMP);
CREATE TABLE IF NOT EXISTS annotations ("number" BIGINT, act VARCHAR, question VARCHAR, id VARCHAR, answer VARCHAR,
    who VARCHAR, settles BOOLEAN, made_at TIMESTAMP);
CREATE VIEW IF NOT EXISTS answers AS
    SELECT question, id, who, answer, made_at FROM annotations WHERE NOT settles
    QUALIFY row_number() OVER (PARTITION BY question, id, who ORDER BY "number" DESC) = 1 AND answer IS NOT NULL;
CREATE VIEW IF NOT EXISTS labels AS
    WITH settled AS (
        SELECT question, id, answer FROM annotations WHERE settles
        QUALIFY row_number() OVER (PARTITION BY question, id ORDER BY "number" DESC) = 1 AND answer IS NOT NULL)
    SELECT question, id, answer FROM settled UNION ALL
    SELECT question, id, any_value(answer) FROM answers ANTI JOIN settled USING (question, id)
    GROUP BY question, id HAVING count(DISTINCT answer) = 1;
"""

KNOWN_IDS = """
CREATE OR REPLACE TEMP TABLE known_ids AS SELECT DISTINCT id FROM samples SEMI JOIN incoming_frame USING (id)"""

INSERT_SAMPLES = """
INSERT INTO samples BY NAME
SELECT (SELECT coalesce(max(position), 0) FROM samples) + ordinal + 1 AS position,
    id, messages, rejected, label, tools, instruction, response, shape, source, "row", parents, operator, metadata,
    coalesce(len(messages), 2) AS turns, length(response)::INTEGER AS response_chars, script, ? AS batch,
    now()::TIMESTAMP AS added_at
FROM incoming_frame ANTI JOIN known_ids USING (id) WHERE first_of_id"""

INSERT_DUPLICATES = """
INSERT INTO duplicates
SELECT i.id, i.source, i."row", i.metadata, ?, now()::TIMESTAMP
FROM incoming_frame i
WHERE (NOT first_of_id OR id IN (SELECT id FROM known_ids))
  AND NOT EXISTS (SELECT 1 FROM samples s WHERE s.id = i.id AND s.source = i.source AND s."row" = i."row")
  AND NOT EXISTS (SELECT 1 FROM duplicates d WHERE d.id = i.id AND d.source = i.source AND d."row" = i."row")"""

INSERT_TAGS = """
INSERT INTO tags
SELECT DISTINCT i.id, unnest(i.tags), 'ingest', now()::TIMESTAMP FROM incoming_frame i ANTI JOIN known_ids USING (id)
WHERE first_of_id AND len(i.tags) > 0"""

COME_BACK = """
UPDATE states SET is_current = true
WHERE NOT is_current AND replaced_by IS NULL AND id IN (SELECT id FROM incoming_frame)"""
"""A text that was only there as a version that was taken back is a sample when a file has it."""

ADDED = """
SELECT (SELECT count(*) FROM incoming_frame) AS n,
    (SELECT count(*) FROM incoming_frame ANTI JOIN known_ids USING (id) WHERE first_of_id) AS added"""

_VIEW = """
CREATE OR REPLACE VIEW {name} AS
SELECT samples.* REPLACE (
        coalesce(samples.messages, [
            {{'role': 'user', 'content': instruction, 'reasoning': NULL, 'tool_calls': NULL}},
            {{'role': 'assistant', 'content': response, 'reasoning': NULL, 'tool_calls': NULL}}]) AS messages,
        coalesce(samples.root, samples.id) AS root),
    tagged.tags, held_out.id IS NOT NULL AS held_out, states.decision, states.reason AS decision_reason{columns}
FROM samples
LEFT JOIN states USING (id)
LEFT JOIN (SELECT id, list(tag ORDER BY tag) AS tags FROM tags GROUP BY id) tagged USING (id)
LEFT JOIN held_out ON held_out.id = coalesce(samples.root, samples.id)
LEFT JOIN scores USING (id){condition}"""


def views(score_columns: Iterable[str]) -> list[str]:
    """SQL of the views: `everything` has the samples as they are now, `versions` what they were before as well."""
    columns = "".join(f', scores."{name.replace(chr(34), chr(34) * 2)}"' for name in score_columns)
    now = "\nWHERE coalesce(states.is_current, true)"
    return [
        _VIEW.format(name="everything", columns=columns, condition=now),
        _VIEW.format(name="versions", columns=columns, condition=""),
    ]


def upgraded(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """The connection, with the tables of a corpus that an earlier version made brought up to date."""
    if _has(connection, "annotations") or not _has(connection, "samples"):
        return connection
    connection.begin()  # all of it or nothing: the next to open the corpus tries again
    connection.execute("ALTER TABLE samples ADD COLUMN IF NOT EXISTS root VARCHAR")
    connection.execute(TABLES)
    scored = connection.execute("SELECT column_name FROM (DESCRIBE scores) WHERE column_name <> 'id'").fetchall()
    for view in views(name for (name,) in scored):
        connection.execute(view)
    connection.commit()
    return connection


def _has(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    # The list of tables would cost half as much as opening the file.
    try:
        connection.execute(f"SELECT NULL FROM {table} LIMIT 0")
    except duckdb.CatalogException:
        return False
    return True

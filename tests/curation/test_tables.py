from pathlib import Path

import duckdb

from curation.corpus import Corpus
from curation.deciding import drop
from curation.scorers import Length
from curation.scoring import score
from tests.curation.samples import corpus_of, pair

ADDED_SINCE = (
    *("states", "actions", "changes", "tag_changes", "mixed", "snapshots", "snapshot_members"),
    *("annotations", "questions"),
)


def test_a_corpus_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", [pair("q1", "a1"), pair("q2", "a2")])
    score(corpus, Length())
    with duckdb.connect(str(corpus.path / "corpus.duckdb")) as old:
        for view in ("everything", "versions"):
            old.execute(f"DROP VIEW {view}")
        for table in ADDED_SINCE:
            old.execute(f"DROP TABLE {table}")
        old.execute("ALTER TABLE samples DROP COLUMN root")
        old.execute("CREATE VIEW everything AS SELECT * FROM samples LEFT JOIN scores USING (id)")
    again = Corpus(corpus.path)
    assert again.frame(["length", "decision"]).rows() == [(4, None), (4, None)]
    assert drop(again, where="instruction = 'q1'", reason="old").changed == 1

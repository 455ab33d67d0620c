from __future__ import annotations

import json
from pathlib import Path

import pytest

from curation.corpus import Corpus
from curation.errors import OperatorError
from curation.ingestion import ingest
from studio.cli import main
from studio.commands.synthesizing import acceptance, pilot_size
from tests.synthesis.loopback import Loopback


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    rows = [{"instruction": f"What is {n} plus {n}?", "output": str(2 * n)} for n in range(12)]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ingest(Corpus.create(tmp_path / "corpus"), [tmp_path / "sums.jsonl"])
    return tmp_path / "corpus"


def told(capsys: pytest.CaptureFixture[str], *words: object) -> dict:
    main([*map(str, words), "--json"])
    return json.loads(capsys.readouterr().out)


def test_a_price_is_set_listed_and_removed(corpus, capsys):
    assert told(capsys, "price", corpus) == {"prices": []}
    told(capsys, "price", corpus, "mini", "--input", 0.4, "--output", 1.6, "--since", "2026-01-01")
    [row] = told(capsys, "price", corpus)["prices"]
    assert (row["model"], row["input"], row["cached_input"], row["output"]) == ("mini", 0.4, None, 1.6)
    assert told(capsys, "price", corpus, "mini", "--remove") == {"prices": []}


def test_half_a_price_is_two_lines(corpus, capsys):
    with pytest.raises(SystemExit):
        main(["price", str(corpus), "mini", "--input", "1"])
    assert "needs both --input and --output" in capsys.readouterr().err


def test_a_pilot_foretells_and_the_run_goes_on_within_its_budget(corpus, capsys):
    told(capsys, "price", corpus, "loopback", "--input", 1, "--output", 4)
    with Loopback() as server:
        words = ("synthesize", corpus, "distill", "--model", server.spec, "--accept", "min_answer_words=3")
        bound = told(capsys, *words, "--pilot", 0)
        pilot = told(capsys, *words, "--pilot")
        run = told(capsys, *words, "--budget", 1)
    assert (bound["pilot"], bound["most"]["calls"]) == (None, 12)
    assert pilot["forecast"]["pilot_seeds"] == 5
    assert 0 < pilot["forecast"]["cost_usd"]["mean"] < bound["most"]["cost_usd"]
    assert (run["run"], run["resumed"], run["calls"], run["budget_usd"]) == (pilot["run"], 5, 7, 1.0)
    assert run["spent_usd"] == pytest.approx(pilot["pilot"]["cost_usd"] + run["cost_usd"])


def test_wrong_rules_and_pilots_say_what_to_write():
    with pytest.raises(OperatorError) as raised:
        acceptance(["min_score=11"])
    assert "--accept min_score=VALUE" in raised.value.fix
    with pytest.raises(OperatorError, match="is no number"):
        pilot_size("some")

from __future__ import annotations

import json
from pathlib import Path

from synthesis import Distill, EvolInstruct, synthesize
from synthesis.evol_instruct import OPERATIONS
from tests.synthesis.samples import SeededCorpus, asked

DEMO = Path(__file__).parents[2] / "studio" / "demo"
SPEC = f"replay:{DEMO / 'replies.jsonl'}"


def seed_samples() -> list:
    lines = [json.loads(line) for name in ("en", "zh") for line in (DEMO / f"instructions_{name}.jsonl").open()]
    return [asked(row["instruction"], row["output"]) for row in lines if row.get("seed_sample")]


def test_every_operation_finds_its_reply_and_elimination_shows(tmp_path):
    for operation in OPERATIONS:
        corpus = SeededCorpus(tmp_path / operation, seed_samples())
        report = synthesize(corpus, EvolInstruct(operations=operation), SPEC)
        assert (report.accepted, report.rejected) == (10, {"no-information-gain": 1, "sorry": 1})


def test_a_second_round_is_answered_too(tmp_path):
    report = synthesize(SeededCorpus(tmp_path, seed_samples()), EvolInstruct(rounds=2), SPEC)
    assert (report.failed, report.accepted) == (0, 10)


def test_every_seed_sample_has_a_distilled_answer(tmp_path):
    report = synthesize(SeededCorpus(tmp_path, seed_samples()), Distill(), SPEC)
    assert (report.seeds, report.accepted, report.cost_usd) == (12, 12, 0.0)

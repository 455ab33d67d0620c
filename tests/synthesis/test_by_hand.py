from __future__ import annotations

import json

import pytest

from curation.errors import CorpusError, OperatorError
from synthesis import Distill, EvolInstruct, synthesize
from synthesis.by_hand import BY_HAND, accept, rejected
from synthesis.prompt_versions import history, is_own, reset, save, wording
from synthesis.prompting import built_in
from tests.synthesis.loopback import Loopback, plausible
from tests.synthesis.samples import SeededCorpus, asked

RIVERS = [asked("Name three rivers.", "Rhine, Nile, Amazon."), asked("说出三条河流。", "长江、黄河、珠江。")]


def refusing_one(body, n):
    return "I'm sorry, but no." if "three" in body["messages"][0]["content"] else plausible(body)


def test_a_rejected_outcome_becomes_a_sample_with_its_parents_and_is_kept(tmp_path):
    corpus = SeededCorpus(tmp_path, RIVERS)
    with Loopback(refusing_one) as server:
        run = synthesize(corpus, Distill(), server.spec).run
    outcome = corpus.query("SELECT id FROM synthesis_rejected").item()
    found = rejected(corpus.path, run, outcome)
    report = accept(corpus, run, [outcome])
    made = corpus.sample(outcome)
    assert (found.rule, report.changed) == ("refusal", 1)
    assert (made.parents, made.response) == ((RIVERS[0].id,), "I'm sorry, but no.")
    assert made.metadata[BY_HAND] == "refusal"
    assert corpus.query("SELECT decision, batch FROM everything WHERE id = ?", outcome).row(0) == ("keep", run)
    assert accept(corpus, run, [outcome]).changed == 0


def equal_rivers(body, n):
    text = body["messages"][0]["content"]
    return "Equal" if "#Second" in text and "three" in text else plausible(body)


def test_what_has_no_answer_or_was_not_rejected_can_not_be_accepted(tmp_path):
    corpus = SeededCorpus(tmp_path, RIVERS)
    with Loopback(equal_rivers) as server:
        run = synthesize(corpus, EvolInstruct(), server.spec).run
    outcome = corpus.query("SELECT id FROM synthesis_rejected").item()
    with pytest.raises(CorpusError, match="has no answer: the rule 'no-information-gain'"):
        accept(corpus, run, [outcome])
    with pytest.raises(CorpusError, match="rejected no outcome 'else'"):
        accept(corpus, run, ["else"])


def test_every_wording_of_a_prompt_is_kept_and_the_built_in_one_comes_back(tmp_path):
    original = built_in("equality")
    first, second = original + "\n\nOne.", original + "\n\nTwo."
    save(tmp_path, "equality", first)
    save(tmp_path, "equality", second.replace("\n", "\r\n") + "\n")
    save(tmp_path, "equality", second)
    assert wording(tmp_path, "equality") == second
    assert [version.text for version in history(tmp_path, "equality")] == [second, first]
    reset(tmp_path, "equality")
    assert (is_own(tmp_path, "equality"), wording(tmp_path, "equality")) == (False, original)
    assert len(history(tmp_path, "equality")) == 2
    assert len({version.hash for version in history(tmp_path, "equality")}) == 2


def test_a_wording_that_an_editor_wrote_is_kept_before_it_is_replaced(tmp_path):
    mine = built_in("equality") + "\n\nMine."
    (tmp_path / "equality.md").write_text(mine, encoding="utf-8")
    save(tmp_path, "equality", built_in("equality") + "\n\nLater.")
    assert [version.text for version in history(tmp_path, "equality")][-1] == mine


def test_a_wording_without_the_gaps_changes_nothing(tmp_path):
    with pytest.raises(OperatorError, match="other gaps"):
        save(tmp_path, "equality", "Are they equal?")
    assert not is_own(tmp_path, "equality")


def test_a_saved_wording_is_sent_and_makes_another_run(tmp_path):
    corpus = SeededCorpus(tmp_path, RIVERS)
    with Loopback() as server:
        first = synthesize(corpus, EvolInstruct(), server.spec).run
        save(corpus.path / "prompts", "equality", built_in("equality") + "\n\nBe strict.")
        second = synthesize(corpus, EvolInstruct(), server.spec).run
    assert first != second
    assert any("Be strict." in json.dumps(body) for body in server.bodies)

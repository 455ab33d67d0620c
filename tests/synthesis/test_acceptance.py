from __future__ import annotations

import json
from typing import ClassVar

import numpy as np
import pytest
from pydantic import ValidationError

from curation.errors import ModelError, OperatorError
from curation.language_models.models import Completion
from curation.sample import Message, Sample
from synthesis import EvolInstruct, synthesize
from synthesis.acceptance import Acceptance
from synthesis.conversation_rules import broken_turns, other_format, other_language, refused
from synthesis.known_texts import KnownTexts
from synthesis.rouge import ClosestTexts, common_subsequence, rouge_l
from synthesis.shards import OWN_SEED
from synthesis.synthesizer import Outcome
from tests.synthesis.loopback import Loopback, refusal
from tests.synthesis.samples import SeededCorpus, asked
from tests.synthesis.scripted import driven

SEED = asked("Name three rivers of Europe.", "Rhine, Elbe, Danube.")
NAMES = ["Rhine", "Elbe", "Danube", "Loire", "Seine", "Ebro", "Volga", "Tagus", "Oder", "Weser", "Main", "Po"]
GOOD = "The Rhine rises in the Alps and flows through four countries before it reaches the North Sea."


def outcome(instruction: str, answer: str = GOOD, **fields) -> Outcome:
    return Outcome((Message("user", instruction), Message("assistant", answer)), **fields)


def checked(rules: Acceptance, made: Outcome, *replies: str | Completion, seed: Sample = SEED) -> Outcome:
    [found], _ = driven(rules.checked(seed, [made]), *replies)
    return found


@pytest.mark.parametrize(
    "rules, made, rule, seen",
    [
        ({"whole": True}, outcome("Where does it rise?", " "), "format", "turn 2 (assistant) is empty"),
        ({"whole": True}, outcome("Where?", "In the Alps.<|im_end|>"), "format", "'<|im_end|>'"),
        ({"whole": True}, outcome("Where?", "</think>In the Alps."), "format", "'</think>'"),
        ({"whole": True}, outcome("Print 1.", "```python\nprint(1)"), "format", "1 code fences"),
        ({"answer_format": "json"}, outcome("As JSON.", "{'a': 1}"), "format", "no JSON"),
        ({"answer_format": "python"}, outcome("In Python.", "```python\nprint(1\n```"), "format", "does not compile"),
        ({"min_instruction_words": 3}, outcome("Where then?"), "length", "has 2 words, fewer than 3"),
        ({"max_instruction_words": 5}, outcome("请说出三条河流。"), "length", "has 7 words, more than 5"),
        ({"min_answer_words": 4}, outcome("Where?", "在山上"), "length", "the answer has 3 words, fewer than 4"),
        ({"max_answer_words": 5}, outcome("Where?"), "length", "has 17 words, more than 5"),
        ({"max_characters": 20}, outcome("Where?"), "length", "characters, more than 20"),
        ({"refusals": True}, outcome("Where?", "I'm sorry, but I can't help."), "refusal", "I'm sorry"),
        ({"refusals": True}, outcome("在哪里？", "作为一个AI，我无法回答。"), "refusal", "AI"),
        ({"eliminate": True}, outcome("Where?", "Sure, which river?"), "insufficient-qualification", "Sure"),
        ({"banned": "alps, danube"}, outcome("Where?"), "banned", "'alps'"),
        ({"language": "same"}, outcome("请说出三条河流，并说明它们流经的国家。"), "language", "'zh', not in 'en'"),
        ({"language": "zh"}, outcome("Which three rivers of Europe are the longest?"), "language", "'en', not in 'zh'"),
        ({"language": "zh"}, outcome("请说出三条河流，并说明理由。"), "language", "the answer is in 'en'"),
    ],
)  # fmt: skip
def test_each_rule_names_itself_and_what_it_saw(rules, made, rule, seen):
    found = checked(Acceptance(**rules), made)
    assert found.rejected_by == rule
    assert seen in found.detail


EVERYTHING = Acceptance(
    whole=True, min_instruction_words=3, max_answer_words=300, language="same", refusals=True, eliminate=True
)


def test_what_is_in_order_passes_every_rule_and_without_a_setting_there_is_none():
    assert checked(EVERYTHING, outcome("Where does the Rhine rise, and where does it end?")).rejected_by is None
    assert checked(Acceptance(), outcome("", "")).rejected_by is None
    zh = asked("说出三条欧洲的河流。", "莱茵河、易北河、多瑙河。")
    made = outcome("莱茵河发源于哪里？", "莱茵河发源于瑞士的阿尔卑斯山，流经四个国家后注入北海。")
    assert checked(EVERYTHING, made, seed=zh).rejected_by is None


def test_every_rule_is_described_and_can_be_given_as_text():
    assert all(field.description for field in Acceptance.model_fields.values())
    given = {"whole": "true", "max_rouge": "0.7", "min_answer_words": "5", "language": "en,zh", "banned": "foo, bar"}
    assert Acceptance(**given) == Acceptance(
        whole=True, max_rouge=0.7, min_answer_words=5, language="en,zh", banned=("foo", "bar")
    )
    with pytest.raises(ValidationError, match="language"):
        Acceptance(language="English")


def test_an_outcome_that_is_rejected_already_keeps_its_rule_and_is_not_judged():
    made = outcome("Where?", rejected_by="empty", detail="nothing")
    assert checked(Acceptance(whole=True, min_score=7), made) == made


def test_an_undesirable_answer_may_be_a_refusal():
    assert checked(Acceptance(refusals=True), outcome("Where?", "I'm sorry, I can't.", label=False)).rejected_by is None


def test_a_translation_may_be_in_the_language_it_names():
    made = outcome(
        "Translate into Chinese: the river rises in the mountains of Switzerland.", "这条河发源于瑞士的山区。"
    )
    assert checked(Acceptance(language="same"), made).rejected_by is None


def test_a_made_up_seed_sample_has_no_language():
    topic = asked("topic 7", metadata={OWN_SEED: True})
    made = outcome("请说出三条欧洲的河流。", "莱茵河、易北河、多瑙河。")
    assert checked(Acceptance(language="same"), made, seed=topic).rejected_by is None


@pytest.mark.parametrize(
    "reply, rule, score",
    [
        ("All true.\nScore: 9", None, 9.0),
        ("```json\n{\"score\": 7, \"reason\": \"short\"}\n```", None, 7.0),
        ("答案有错误。\n评分：3", "judge", 3.0),
        ("I would rather not say.", "judge-unreadable", None),
        ("Score: 11", "judge-unreadable", None),
    ],
)  # fmt: skip
def test_the_judge_comes_last_and_its_words_are_kept(reply, rule, score):
    found = checked(Acceptance(whole=True, min_score=7), outcome("Where does the Rhine rise?"), reply)
    assert (found.rejected_by, found.metadata["judged"]) == (rule, {"score": score, "said": reply})
    assert [(call.step, call.role) for call in found.calls] == [("accept", "judge")]


def test_all_outcomes_of_a_seed_sample_are_judged_at_once():
    made = [outcome("Where?"), outcome("Why?", rejected_by="empty"), outcome("When?")]
    found, calls = driven(Acceptance(min_score=7).checked(SEED, made), "Score: 8", "Score: 2")
    assert [o.rejected_by for o in found] == [None, "empty", "judge"]
    assert found[2].detail == "scored 2, below 7"
    assert len(calls) == 2


def test_the_user_may_word_the_question_to_the_judge_and_its_hash_stands_in_the_spec(tmp_path):
    (tmp_path / "accept.md").write_text("Rate from 1 to 10: {{instruction}} / {{answer}}")
    rules = Acceptance(min_score=5).with_prompts(tmp_path)
    _, calls = driven(rules.checked(SEED, [outcome("Where?", "There.")]), "6")
    assert calls[0].request.messages == (("user", "Rate from 1 to 10: Where? / There."),)
    assert rules.spec()["prompts"] != Acceptance(min_score=5).spec()["prompts"]
    assert Acceptance().spec() == {}


def test_the_code_of_an_answer_must_pass_the_tests_of_the_seed_sample():
    seed = asked("Write add(a, b).", metadata={"tests": ["assert add(1, 2) == 3", "assert add(0, 0) == 0"]})
    right = outcome("Write add(a, b) in Python.", "```python\ndef add(a, b):\n    return a + b\n```")
    wrong = outcome("Write add(a, b) in Python.", "```python\ndef add(a, b):\n    return a * b\n```")
    rules = Acceptance(run_tests=True)
    assert checked(rules, right, seed=seed).rejected_by is None
    assert checked(rules, wrong, seed=seed).detail.startswith("50% of the tests passed: wrong")
    assert "no tests" in checked(rules, right).detail


def test_questions_of_a_benchmark_are_kept_out(tmp_path):
    question = "A train leaves the station at nine and travels at sixty miles an hour; how far has it gone by noon?"
    file = tmp_path / "bench.jsonl"
    file.write_text(json.dumps({"question": question, "answer": "180"}))
    rules = Acceptance(benchmarks=str(file))
    made = [outcome(f"Solve this. {question}"), outcome("How far is it from Bonn to Bern?")]
    found = [one for _, one in rules.gate(SeededCorpus(tmp_path / "corpus"), []).passed([(SEED, one) for one in made])]
    assert [o.rejected_by for o in found] == ["contamination", None]
    assert "100% of bench.jsonl, item 1 (exact)" in found[0].detail
    judged = rules.model_copy(update={"min_score": 5.0})
    assert checked(judged, made[0]).rejected_by == "contamination", "before anybody is asked"
    before = rules.spec()
    file.write_text(json.dumps({"question": question + " Explain.", "answer": "180"}))
    assert rules.spec() != before


# ---------------------------------------------------------------- comparisons


def gated(rules: Acceptance, corpus: SeededCorpus, seeds: list, made: list[tuple[Sample, Outcome]]) -> list[Outcome]:
    gate = rules.gate(corpus, seeds)
    looked_at = [(seed, checked(rules, one, seed=seed)) for seed, one in made]
    return [one for _, one in gate.passed(looked_at)]


OTHER = asked("Which mountain range divides Spain from France?", "The Pyrenees.")


def test_equal_texts_are_found_in_the_corpus_and_among_new_ones(tmp_path):
    corpus = SeededCorpus(tmp_path, [SEED, OTHER])
    made = [outcome("which mountain range  divides Spain from France"), outcome("Why?"), outcome("why")]
    found = gated(Acceptance(exact=True), corpus, [SEED], [(SEED, one) for one in made])
    assert [o.rejected_by for o in found] == ["exact-duplicate", None, "exact-duplicate"]
    assert found[0].detail == f"the same text as sample {OTHER.id}"


def test_almost_equal_instructions_are_rejected_above_the_limit_only(tmp_path):
    corpus = SeededCorpus(tmp_path, [SEED, OTHER])
    near = outcome("Which mountain range divides Spain from Portugal?")
    far = outcome("Which river divides Spain from Portugal near the sea?")
    alike = outcome("Which river divides Spain from Portugal near the town?")
    found = gated(Acceptance(max_rouge=0.7), corpus, [SEED, OTHER], [(SEED, near), (SEED, far), (OTHER, alike)])
    assert [o.rejected_by for o in found] == ["near-duplicate", None, "near-duplicate"]
    assert found[0].detail == f"ROUGE-L 0.857, above 0.7, to sample {OTHER.id}"
    assert rouge_l("a b c d e f g", "a b c d e f h") == pytest.approx(6 / 7)


def test_what_a_sample_was_made_from_counts_only_when_asked_for(tmp_path):
    corpus = SeededCorpus(tmp_path, [SEED])
    made = [(SEED, outcome("Name three rivers of Asia."))]
    assert gated(Acceptance(max_rouge=0.7), corpus, [SEED], made)[0].rejected_by is None
    again = (SEED, outcome("Name three rivers of Africa."))
    assert gated(Acceptance(max_rouge=0.7), corpus, [SEED], [*made, again])[1].rejected_by is None, "a sibling"
    with_parents = Acceptance(max_rouge=0.7, parents_count=True)
    assert gated(with_parents, corpus, [SEED], made)[0].rejected_by == "near-duplicate"


def test_answers_to_a_known_instruction_are_compared_with_their_answers(tmp_path):
    corpus = SeededCorpus(tmp_path, [SEED])
    made = [outcome(SEED.instruction, text) for text in ("Po, Ebro, Volga.", "po, ebro, volga", "Loire, Seine, Rhone.")]
    found = gated(Acceptance(exact=True), corpus, [SEED], [(SEED, one) for one in made])
    assert [o.rejected_by for o in found] == [None, "exact-duplicate", None]
    by_instruction = Acceptance(exact=True, compare="instruction")
    found = gated(by_instruction, corpus, [SEED], [(SEED, one) for one in made])
    assert [o.rejected_by for o in found] == [None, "exact-duplicate", "exact-duplicate"]


def letters(texts):
    """A tiny encoder: how often a, b and c occur."""
    counts = np.array([[text.count(letter) for letter in "abc"] for text in texts], np.float32)
    return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)


def test_texts_whose_vectors_are_close_are_rejected_with_the_nearest_one_named():
    known = KnownTexts(exact=False, max_rouge=None, max_cosine=0.9, encode=letters)
    known.add(["x", "y", "z"], ["a b", "a c", "b a"])
    known.add(["w"], ["aab"], encoded=False)
    assert known.objection("aab", ()) == ("embedding", "cosine 0.949, above 0.9, to sample x")  # 3 / sqrt(10)
    assert known.objection("aab", {"x"}) == ("embedding", "cosine 0.949, above 0.9, to sample z")
    assert known.objection("aab", {"x"}, {"z"}) is None
    assert known.objection("nothing", ()) is None


def test_the_lexical_encoder_learns_from_the_corpus(tmp_path, monkeypatch):
    monkeypatch.setattr("synthesis.compared.FEWEST_TO_FIT", 10)
    seeds = [
        asked(f"What is the {what} of the {name}?", "It is known.") for what in ("length", "depth") for name in NAMES
    ]
    corpus = SeededCorpus(tmp_path, seeds)
    made = [outcome("What is the depth of the  rhine"), outcome("写一首诗。")]
    found = gated(Acceptance(max_cosine=0.95), corpus, seeds, [(seeds[3], one) for one in made])
    assert [o.rejected_by for o in found] == ["embedding", None]
    assert f"above 0.95, to sample {seeds[12].id}" in found[0].detail


def test_the_lexical_encoder_refuses_to_learn_from_a_handful_of_samples(tmp_path):
    with pytest.raises(OperatorError, match="has 1 samples to learn from, fewer than 100"):
        gated(Acceptance(max_cosine=0.9), SeededCorpus(tmp_path, [SEED]), [SEED], [(SEED, outcome("Why?"))])


def test_chinese_is_compared_by_character():
    known = ClosestTexts()
    known.add(["a", "b"], ["请写一首关于春天的诗。", "请解释什么是光合作用。"])
    assert known.closest("请写一首关于秋天的诗。", 0.7) == ("a", pytest.approx(0.9))
    assert known.closest("请写一首关于秋天的诗。", 0.7, {"a"}) is None


def test_the_index_finds_what_comparing_with_every_text_finds():
    words = ["river", "the", "a", "long", "sea", "town", "the", "old"]
    lists = [[words[(i * k) % 8] for k in range(3 + i % 6)] for i in range(80)]
    known = ClosestTexts()
    for start in range(0, 80, 7):
        part = range(start, min(80, start + 7))
        known.add([f"{i:03}" for i in part], [" ".join(lists[i]) for i in part])
    for i, mine in enumerate(lists):
        likeness = [2 * common_subsequence(mine, other) / (len(mine) + len(other)) for other in lists]
        best = min((-one, f"{j:03}") for j, one in enumerate(likeness) if j != i)
        expected = (best[1], -best[0]) if -best[0] > 0.6 else None
        assert known.closest(" ".join(mine), 0.6, {f"{i:03}"}) == expected


@pytest.mark.parametrize(
    "text, seen",
    [
        ("说出三条河流", "'zh'"),
        ("川の名前を三つ", "'ja'"),
        ("세 개의 강", "'ko'"),
        ("Bitte nenne mir drei Flüsse in Europa und beschreibe sie.", "'de'"),
        ("Hi", None),
        ("Please name three rivers of Europe and describe them.", None),
    ],
)
def test_languages_are_told_by_script_or_prose_and_else_there_is_no_objection(text, seen):
    found = other_language(text, "", "", "en")
    assert found == (seen and f"the instruction is in {seen}, not in 'en'")


def test_smaller_rules():
    system = Message("system", "Be brief.")
    assert broken_turns([system, Message("user", "Hi"), Message("assistant", "Hello")]) is None
    assert broken_turns([Message("user", "Hi")]) == "the last of 1 turns is not an answer"
    assert "both of the user" in broken_turns([Message("user", "a"), Message("user", "b"), Message("assistant", "c")])
    assert other_format('```json\n{"a": [1]}\n```', "json") is None
    assert other_format("def f():\n    return 1", "python") is None
    assert refused("Of course. A sign reads: I cannot swim.") is None


# ---------------------------------------------------------------- whole runs


class FewPerShard(EvolInstruct):
    """Shards are small, so that a run is interrupted between them."""

    seeds_per_shard: ClassVar[int] = 3


def alike(body, n):
    """Every third evolved instruction is almost the same, whatever it was made from."""
    text = body["messages"][-1]["content"]
    if "#Second Instruction#" in text:
        return "Not Equal"
    if "Say how good the pair is" in text:
        return "Score: 3" if "Ebro: " in text else "Score: 8"
    if "#Rewritten Instruction#" not in text and "#Created Instruction#" not in text:
        return f"This is the answer to it: {text} It takes three steps, and each of them is short."
    place = next(i for i, name in enumerate(NAMES) if name in text)
    if place % 3 == 0:
        return f"Describe in detail how ships came to travel on the river {NAMES[place]}."
    return f"{NAMES[place]}: " + " ".join(NAMES[(place * k) % 12] * 2 for k in range(2, 9)) + "?"


RULES = Acceptance(whole=True, refusals=True, language="same", exact=True, max_rouge=0.7, min_score=7)


def test_an_interrupted_and_resumed_run_decides_as_an_uninterrupted_one(tmp_path):
    seeds = [asked(f"What is the length of the {name}?", "Long.") for name in NAMES]
    whole, halted = SeededCorpus(tmp_path / "whole", seeds), SeededCorpus(tmp_path / "halted", seeds)
    with Loopback(alike) as server:
        report = synthesize(whole, FewPerShard(), server.spec, acceptance=RULES)
        needed = server.requests

    def halting(body, n):
        return refusal(401, "key expired") if n in (20, 40) else alike(body, n)

    with Loopback(halting) as server:
        for _ in range(2):
            with pytest.raises(ModelError, match="key expired"):
                synthesize(halted, FewPerShard(), server.spec, acceptance=RULES, concurrency=2)
        assert len(halted.shards(report.run)) > 1
        resumed = synthesize(halted, FewPerShard(), server.spec, acceptance=RULES, concurrency=2)
    assert decided(halted) == decided(whole)
    assert report.rejected == {"judge": 1, "near-duplicate": 3}
    assert set(json.loads(whole.outcomes()[0]["operator"])["acceptance"]["prompts"]) == {"accept"}
    assert (report.run, needed) == (resumed.run, 48)


def decided(corpus: SeededCorpus) -> list[tuple]:
    return [(o["id"], o["rejected_by"], o["detail"], o["metadata"]) for o in corpus.outcomes()]

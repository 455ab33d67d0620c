from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from curation.corpus import Corpus
from curation.errors import WinnowError
from curation.ingestion import ingest
from curation.mixing import build_mix, export, load_mix
from training.judging.answer_rules import Finding, findings, looping
from training.judging.answers import Answer
from training.judging.bad_cases import bad_cases, found_bad_cases, kept_bad_cases, neighbours_of
from training.judging.claims import CAN_NOT_TELL, NOT_THERE, UNREADABLE, _request, claim_in
from training.judging.remedies import store_neighbours


def answer(question: str, text: str, *, reference: str | None = None, finish: str = "stop", id: str = "p") -> Answer:  # noqa: A002
    return Answer(id, "s", [{"role": "user", "content": question}], reference, "trained", text, finish, 7, "w", "s")


def broken(one: Answer, scores: dict[str, Any] | None = None) -> dict[str, str]:
    (found,) = findings([one], {(one.id, one.model): scores} if scores else {})
    return {finding.rule: finding.why for finding in found if finding.broken}


def unknown(one: Answer) -> dict[str, str]:
    (found,) = findings([one], {})
    return {finding.rule: finding.why for finding in found if finding.broken is None}


GOOD = "A kettle boils water with a heating element at its bottom, and a switch turns it off."


def test_a_good_answer_breaks_no_rule() -> None:
    assert broken(answer("How does a kettle work?", GOOD)) == {}


@pytest.mark.parametrize(
    ("asked", "text", "why"),
    [
        ("Answer in JSON format: which colours has a flag?", "red and white", "asked for: JSON"),
        ("Answer in one word: what is the capital of France?", "The capital is Paris.", "asked for: in 1 word"),
        ("List three fruits as bullet points.", "apples, pears and plums", "asked for: bullet points"),
    ],
)
def test_a_form_that_was_asked_for_and_not_kept_is_named(asked: str, text: str, why: str) -> None:
    assert broken(answer(asked, text))["format"] == why


def test_a_form_that_the_reference_breaks_too_was_misread() -> None:
    asked = "List three fruits as bullet points."
    assert "format" not in broken(answer(asked, "apples, pears", reference="apples, pears, plums"))


def test_loops_are_found_also_where_the_answer_was_cut_within_one() -> None:
    assert looping("I like tea. " + "the cat sat on the mat and " * 6 + "the cat") is not None
    assert looping("very " * 30) == "its end says the same 1 words 30 times"
    assert looping("我喜欢茶" * 8) is not None
    assert looping("1. Secret: the CE" + "S" * 30) == "it stammers “S”"
    assert looping("| a | b |\n" + "-" * 60) is None
    assert looping(GOOD) is None
    assert looping("no no no") is None


def test_refusals_cuts_and_empty_answers() -> None:
    assert "refusal" in broken(answer("How are you?", "I'm sorry, but I can't help with that."))
    assert "refusal" not in broken(answer("How are you?", "I'm sorry, I can't.", reference="I'm sorry, but I can't."))
    assert broken(answer("How are you?", GOOD, finish="length"))["truncated"] == "cut after 7 tokens"
    assert set(broken(answer("How are you?", " \n"))) == {"empty"}


def test_chinese_that_is_answered_in_english_is_the_wrong_language() -> None:
    assert "wrong-language" in broken(answer("请介绍一下中国的茶文化，并说明它的历史。", GOOD))
    assert "wrong-language" not in broken(answer("How does a kettle work, and who made the first one?", GOOD))


def test_a_wrong_answer_is_only_what_was_verified() -> None:
    one = answer("What is 2 + 2?", "It is 5.")
    wrong = {"final_answer": False, "final_answer_found": "5", "final_answer_expected": "4", "code_tests": None}
    assert broken(one, wrong)["wrong-answer"] == "the answer ends in 5; expected: 4"
    assert "wrong-answer" not in broken(one)
    assert "wrong-answer" in unknown(one)


def test_an_answer_without_a_final_answer_says_so() -> None:
    none = {"final_answer": False, "final_answer_found": None, "final_answer_expected": "5"}
    scores = {**none, "final_answer_reason": "the answer has no number"}
    assert broken(answer("What is 2 + 3?", "Who knows."), scores)["wrong-answer"] == (
        "the answer has no number; expected: 5"
    )
    assert "None" not in broken(answer("What is 2 + 3?", "Who knows."), none)["wrong-answer"]


# -------------------------------------------------------------------- a run

ROWS = [
    {"instruction": f"How long does tea number {n} steep?", "output": f"Tea {n} steeps {n} minutes."} for n in range(12)
]
ROWS += [{"instruction": f"What is {n} plus {n}?", "output": f"#### {2 * n}"} for n in range(12)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    folder = tmp_path_factory.mktemp("cases")
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    corpus = Corpus.create(folder / "corpus")
    ingest(corpus, [folder / "rows.jsonl"])
    export(corpus, build_mix({"name": "m", "parts": [{"where": "instruction LIKE '%1%' OR instruction LIKE '%tea%'"}]}))
    return corpus


@pytest.fixture
def run(corpus: Corpus) -> Path:
    folder = corpus.path / "runs" / "r"
    folder.mkdir(parents=True, exist_ok=True)
    mix = corpus.path / "mixes" / "m"
    (folder / "config.json").write_text(json.dumps({"base_model": "b"}))
    (folder / "data.json").write_text(json.dumps({"mix": str(mix)}))
    (folder / "manifest.json").write_bytes((mix / "manifest.json").read_bytes())
    answers = [
        answer("How long does green tea number 3 steep?", "tea " * 20, id="p1"),
        answer("How long does tea steep?", GOOD, id="p2"),
    ]
    (folder / "answers.jsonl").write_text("".join(json.dumps(asdict(a)) + "\n" for a in answers))
    return folder


def test_each_bad_case_has_the_samples_of_the_mix_that_are_nearest_to_it(run: Path) -> None:
    report = bad_cases(run, neighbours=3)
    assert (report.answers, report.bad_answers, report.space) == (2, 1, "lexical")
    first = report.groups[0]
    assert (first.rule, first.cases, first.base_cases) == ("repetition", 1, None)
    near = first.bad[0].neighbours
    assert len(near) == 3
    assert all("tea" in neighbour.question for neighbour in near)
    assert [n.similarity for n in near] == sorted((n.similarity for n in near), reverse=True)
    assert found_bad_cases(run) == json.loads(json.dumps(asdict(report)))


def test_hallucinations_are_null_with_the_reason_until_a_judge_has_read_the_answers(run: Path) -> None:
    groups = {group.rule: group for group in bad_cases(run).groups}
    assert (groups["hallucinated"].cases, groups["hallucinated"].checked) == (None, 0)
    assert "judge" in next(iter(groups["hallucinated"].unknown))
    told = {"contradicted": True, "claim": "a switch turns it off", "why": "It has none."}
    (run / "replies.jsonl").write_text(json.dumps({"contains": ["kettle"], "reply": json.dumps(told)}) + "\n")
    groups = bad_cases(run, judge=f"replay:{run / 'replies.jsonl'}").groups
    judged = next(group for group in groups if group.rule == "hallucinated")
    assert (judged.cases, judged.checked, judged.bad[0].id) == (1, 1, "p2")
    assert judged.bad[0].why == "“a switch turns it off”: It has none."


@pytest.mark.parametrize(
    ("reply", "broken", "why"),
    [
        ('{"contradicted": false, "claim": "", "why": ""}', False, ""),
        ('{"contradicted": null, "claim": "", "why": "who knows"}', None, CAN_NOT_TELL),
        ('{"contradicted": true, "claim": "it sings at night", "why": "no"}', None, NOT_THERE),
        ('{"contradicted": true, "claim": "", "why": "no"}', None, NOT_THERE),
        ("Yes, it lies.", None, UNREADABLE),
    ],
)
def test_a_claim_that_is_not_in_the_answer_is_no_hallucination(reply: str, broken: bool | None, why: str) -> None:
    assert claim_in(reply, GOOD) == Finding("hallucinated", broken, why)


def test_the_judge_is_told_how_much_of_a_long_answer_it_does_not_see() -> None:
    (_, text), *_ = _request(answer("Why?", "x" * 6_500, reference="short")).messages
    assert "x\n[500 more characters are not shown]" in text
    assert text.count("not shown]") == 1


def test_a_report_is_kept_for_as_long_as_the_answers_and_what_is_asked_are_the_same(run: Path) -> None:
    told = {"contradicted": True, "claim": "a switch turns it off", "why": "It has none."}
    (run / "replies.jsonl").write_text(json.dumps({"contains": ["kettle"], "reply": json.dumps(told)}) + "\n")
    judge = f"replay:{run / 'replies.jsonl'}"
    report = json.loads(json.dumps(asdict(bad_cases(run, judge=judge, neighbours=2))))
    assert (report["judge"], report["neighbours"]) == (judge, 2)
    assert kept_bad_cases(run) == kept_bad_cases(run, judge=judge, neighbours=2) == report
    others = ({"neighbours": 3}, {"judge": "openai:other"}, {"model": "base"}, {"embedding": "e"})
    assert [kept_bad_cases(run, **other) for other in others] == [None] * 4
    with (run / "answers.jsonl").open("a") as file:
        file.write(json.dumps(asdict(answer("And now?", GOOD, id="p3"))) + "\n")
    assert kept_bad_cases(run) is None


def test_bad_cases_of_the_random_model_are_near_samples_that_it_was_trained_on(run: Path, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "How long does tea steep?"}, {"role": "assistant", "content": "Long."}]
    rows = [{"id": "other", "messages": turns}, {"id": "far", "messages": [{**turns[0], "content": "Why?"}, turns[1]]}]
    for name, its in (("train", ROWS[:3]), ("random", rows)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in its))
    (run / "data.json").write_text(json.dumps({"mix": str(tmp_path)}))
    one = {**asdict(answer("How long does tea steep?", "tea " * 20)), "model": "random"}
    (run / "answers.jsonl").write_text(json.dumps(one) + "\n")
    (case,) = bad_cases(run, model="random", neighbours=1).groups[0].bad
    assert [near.id for near in case.neighbours] == ["other"]


def test_samples_that_are_not_in_the_corpus_take_no_place_of_those_that_are(corpus: Corpus, run: Path) -> None:
    report = asdict(bad_cases(run))
    near = report["groups"][0]["bad"][0]["neighbours"]
    gone = [{**near[0], "id": f"gone-{n}", "similarity": 1.0} for n in range(4)]
    report["groups"][0]["bad"][0]["neighbours"] = [*gone, *near]
    remedy = store_neighbours(corpus, report, "here", rules=["repetition"], most=3)
    chosen = corpus.selection("here")
    assert set(chosen.ids) == {sample["id"] for sample in near[:3]}
    assert remedy.samples == 3
    left = corpus.query("SELECT id FROM not_selected WHERE name = 'here'")["id"].to_list()
    assert not set(left) & set(chosen.ids)
    assert set(left) == {sample["id"] for sample in near[3:]}


def test_the_nearest_samples_become_a_selection_and_a_recipe_with_more_of_them(corpus: Corpus, run: Path) -> None:
    remedy = store_neighbours(corpus, asdict(bad_cases(run)), "more", rules=["repetition"], most=3, times=4)
    chosen = corpus.selection("more")
    assert len(chosen.ids) == remedy.samples == 3
    assert chosen.operator["rules"] == ["repetition"]
    assert corpus.count(remedy.where) == 3
    export(corpus, load_mix(Path(remedy.recipe or "")))
    before, after = (Counter(ids(corpus.path / "mixes" / name)) for name in ("m", "more"))
    assert after == {i: 4 if i in chosen.ids else 1 for i in before}


def ids(mix: Path) -> list[str]:
    return [json.loads(line)["id"] for line in (mix / "train.jsonl").read_text().splitlines()]


def test_a_run_without_answers_or_a_rule_without_cases_is_two_lines(run: Path, tmp_path: Path) -> None:
    with pytest.raises(WinnowError, match="has no answers of its trained model") as raised:
        bad_cases(tmp_path)
    assert "winnow evaluate" in raised.value.fix
    report = asdict(bad_cases(run))
    with pytest.raises(WinnowError, match="nothing is near"):
        neighbours_of(report, ["refusal"])
    with pytest.raises(WinnowError, match="nonsense"):
        neighbours_of(report, ["nonsense"])

"""Preference pairs: by a judge, by a check, by contrast, and from a trained run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from curation import Mix, Part, export, ingest
from curation.errors import OperatorError
from curation.language_models.models import Completion
from curation.sample import Message
from synthesis import BestOfN, ContrastPairs, OnPolicyPairs, VerifiedPairs, synthesize
from synthesis.candidates import reference_of
from synthesis.synthesizer import Outcome
from tests.data import shared
from tests.synthesis.loopback import Loopback
from tests.synthesis.samples import SeededCorpus, asked
from tests.synthesis.scripted import played

RIVERS = asked("Name three rivers.", "Rhine, Nile, Amazon.")
SUM = asked("What is 2 + 2?", "2 + 2 = 4\n#### 4")
CODE = asked("Write add(a, b).", metadata={"tests": "assert add(1, 2) == 3"})


def sides(outcome: Outcome) -> tuple[str, str | None]:
    return outcome.messages[-1].content, outcome.rejected[-1].content if outcome.rejected else None


# -------------------------------------------------------------------- by a judge


def scored(prompt: str, points: dict[str, float]) -> str:
    """A judge that knows what each answer is worth, wherever it stands."""
    answers = re.findall(r"#Answer \d+#\n(.*)", prompt)
    return json.dumps({"reason": "-", "scores": [points[answer] for answer in answers]})


def judged(kind: Any, points: dict[str, float], *replies: str) -> Outcome:
    steps = kind.steps(RIVERS, kind.random_state(RIVERS, 0))
    calls = next(steps)
    grading = steps.send([Completion(reply, finish_reason="stop") for reply in replies])
    with pytest.raises(StopIteration) as end:
        steps.send([Completion(scored(call.request.messages[0][1], points)) for call in grading])
    outcomes: list[Outcome] = end.value.value
    assert (len(calls), len(outcomes)) == (len(replies), 1)
    return outcomes[0]


def test_the_best_is_chosen_and_the_worst_rejected_in_whatever_order_the_judge_saw_them() -> None:
    points = {"Elbe": 3.0, "Elbe, Oder, Weser": 9.0, "长江": 4.0}
    outcome = judged(BestOfN(answers=3, judgements=4), points, "Elbe", "Elbe, Oder, Weser", "长江")
    assert (sides(outcome), outcome.rejected_by) == (("Elbe, Oder, Weser", "Elbe"), None)
    assert outcome.metadata["scores"] == {"answer 1": 3, "answer 2": 9, "answer 3": 4}
    assert (outcome.metadata["chosen"], outcome.metadata["rejected"]) == ("answer 2", "answer 1")
    orders = [tuple(told["order"]) for told in outcome.metadata["judgements"]]
    assert len(set(orders)) > 1
    assert [call.role for call in outcome.calls] == ["model"] * 3 + ["judge"] * 4


def test_a_tie_and_a_gap_that_is_too_small_make_no_pair() -> None:
    tie = judged(BestOfN(answers=2), {"Elbe": 5.0, "Oder": 5.0}, "Elbe", "Oder")
    near = judged(BestOfN(answers=2, min_gap=2), {"Elbe": 5.0, "Oder": 6.0}, "Elbe", "Oder")
    assert [(o.rejected_by, o.detail, o.rejected) for o in (tie, near)] == [
        ("tie", "best 5, worst 5", None),
        ("tie", "best 6, worst 5", None),
    ]


def test_answers_that_are_cut_off_or_repeat_another_do_not_compete() -> None:
    cut = Completion("Elbe, Od", finish_reason="length")
    [outcome], _ = played(BestOfN(answers=3), RIVERS, cut, "Weser", "weser.")
    assert (outcome.rejected_by, outcome.detail) == ("too-few-answers", "1 of 3 answers are whole and differ")


def test_what_a_judge_wrote_without_a_score_for_each_is_kept() -> None:
    [outcome], _ = played(BestOfN(answers=2), RIVERS, "Elbe", "Oder", "Both are rivers.")
    assert outcome.rejected_by == "unreadable-scores"
    assert outcome.metadata["judgements"][0]["text"] == "Both are rivers."


def test_a_judgement_that_can_not_be_read_does_not_count_in_the_mean() -> None:
    kind = BestOfN(answers=2, judgements=2)
    [outcome], calls = played(kind, RIVERS, "Elbe", "Oder", "???", "评分：[9, 2]")
    last = outcome.metadata["judgements"][1]
    assert sorted(outcome.metadata["scores"].values()) == [2, 9]
    assert outcome.metadata["chosen"] == last["order"][0]
    assert len(calls) == 4


# -------------------------------------------------------------------- by a check


def test_a_right_answer_is_chosen_and_a_wrong_one_rejected() -> None:
    [outcome], _ = played(VerifiedPairs(answers=3), SUM, "It is 5.\n#### 5", "四。答案是 4", "#### 22")
    assert sides(outcome) == ("四。答案是 4", "It is 5.\n#### 5")
    assert (outcome.metadata["pass_rate"], outcome.metadata["wrong_because"]) == (pytest.approx(1 / 3), "5")


@pytest.mark.parametrize(
    ("replies", "rule"),
    [
        (("#### 4", "so 4"), "all-right"),
        (("#### 5", "no idea"), "all-wrong"),
        (("", ""), "nothing-verified"),
    ],
)
def test_without_both_there_is_no_pair(replies: tuple[str, str], rule: str) -> None:
    [outcome], _ = played(VerifiedPairs(answers=2), SUM, *replies)
    assert (outcome.rejected_by, outcome.rejected) == (rule, None)


def test_code_is_told_right_from_wrong_by_its_tests() -> None:
    right, wrong = (f"```python\ndef add(a, b):\n    return a {sign} b\n```" for sign in "+-")
    [outcome], _ = played(VerifiedPairs(answers=2), CODE, wrong, right)
    assert sides(outcome) == (right, wrong)


def test_each_answer_is_in_one_pair_at_most_and_the_sample_s_own_may_stand_in() -> None:
    several, _ = played(VerifiedPairs(answers=4, pairs=3), SUM, "#### 4", "#### 5", "so 4", "so 6")
    [own], _ = played(VerifiedPairs(answers=1, own_is_right=True), SUM, "#### 5")
    assert [sides(o) for o in several] == [("#### 4", "#### 5"), ("so 4", "so 6")]
    assert sides(own) == (SUM.response, "#### 5")


LABELLED = {
    "small": {"solution": "#### 5", "is_correct": False},
    "large": {"solution": "so it is\n#### 4", "is_correct": True},
    "doubtful": {"solution": "#### 4, of course\n#### 4", "is_correct": False},
    "other": {"solution": "no label"},
    "listed": [{"answer": "#### 6", "correct": False}],
}


def test_labelled_answers_in_the_metadata_need_no_call() -> None:
    seed = asked("What is 2 + 2?", "#### 4", metadata=LABELLED)
    [outcome], calls = played(VerifiedPairs(answers=0), seed)
    assert (sides(outcome), calls) == (("so it is\n#### 4", "#### 6"), [])
    assert outcome.metadata["disagreements"] == ["doubtful"]
    assert (outcome.metadata["chosen"], outcome.metadata["rejected"]) == ("large", "listed 1")
    assert not VerifiedPairs(answers=0).suits(SUM)
    assert not VerifiedPairs().suits(RIVERS)


def test_the_labelled_solutions_of_gsm8k_become_pairs_without_a_call_and_are_exported(tmp_path: Path) -> None:
    lines = shared("data/gsm8k_model_solutions.jsonl").read_text().splitlines()[:60]
    (tmp_path / "solutions.jsonl").write_text("\n".join(lines))
    (tmp_path / "nobody.jsonl").write_text("")
    corpus = SeededCorpus(tmp_path / "corpus")
    ingest(corpus, [tmp_path / "solutions.jsonl"], fields={"answer": "ground_truth"})
    report = synthesize(corpus, VerifiedPairs(answers=0), f"replay:{tmp_path / 'nobody.jsonl'}")
    mixed = sum(
        len({value["is_correct"] for value in json.loads(line).values() if isinstance(value, dict)}) == 2
        for line in lines
    )
    assert (report.seeds, report.accepted, report.calls) == (60, mixed, 0)
    parts = (Part(where="source = 'synthesis/verified-pairs'"),)
    written = export(corpus, Mix(name="pairs", format="preference", parts=parts))
    rows = [json.loads(line) for line in (Path(written.folder) / "train.jsonl").read_text().splitlines()]
    assert len(rows) == mixed
    assert all(row["chosen"] != row["rejected"] and row["prompt"] for row in rows)


# -------------------------------------------------------------------- by contrast


def test_one_question_is_answered_by_a_good_and_by_a_bad_principle() -> None:
    seed = asked("Name three rivers.")
    [outcome], calls = played(ContrastPairs(), seed, "Elbe, Oder, Weser.", "Some rivers are long.")
    assert sides(outcome) == ("Elbe, Oder, Weser.", "Some rivers are long.")
    assert outcome.messages[0] == Message("user", "Name three rivers.")
    systems = [call.request.messages[0] for call in calls]
    assert [role for role, _ in systems] == ["system", "system"]
    assert (outcome.metadata["good"] in systems[0][1], outcome.metadata["bad"] in systems[1][1]) == (True, True)


@pytest.mark.parametrize(
    ("good", "bad", "rule"),
    [
        ("Elbe.", "elbe", "same-answers"),
        ("Elbe.", "I'm sorry, but I can't answer badly.", "refusal"),
        ("", "Elbe.", "empty"),
        ("Elbe.", Completion("El", finish_reason="length"), "truncated"),
    ],
)
def test_each_way_to_fail_has_its_rule(good: str, bad: str | Completion, rule: str) -> None:
    [outcome], _ = played(ContrastPairs(), RIVERS, good, bad)
    assert outcome.rejected_by == rule


def test_a_judge_may_look_at_the_pair_in_a_drawn_order() -> None:
    kind = ContrastPairs(judge_pair=True)
    outcomes = [played(kind, RIVERS, "Elbe, Oder.", "随便。", f"更好：{side}")[0][0] for side in "AB"]
    assert sorted(str(o.rejected_by) for o in outcomes) == ["None", "not-preferred"]
    [unclear], _ = played(kind, RIVERS, "Elbe, Oder.", "随便。", "Well.")
    assert unclear.rejected_by == "unclear-verdict"


def test_principles_of_one_s_own_come_in_two() -> None:
    [outcome], calls = played(ContrastPairs(good="be brief", bad="be long"), RIVERS, "Elbe.", "The Elbe, well, is one.")
    assert "be brief" in calls[0].request.messages[0][1]
    assert outcome.metadata["principle"] == "own"
    with pytest.raises(OperatorError, match="go together"):
        ContrastPairs(good="be brief")
    with pytest.raises(OperatorError, match="Unknown principle 'helpfull'"):
        ContrastPairs(principles="helpfull")


# -------------------------------------------------------------------- from a trained run


def test_a_run_answers_and_a_program_decides_where_it_can() -> None:
    [outcome], calls = played(OnPolicyPairs(run="first", answers=2), SUM, "#### 5", "#### 4")
    assert (sides(outcome), outcome.metadata["run"]) == (("#### 4", "#### 5"), "first")
    assert [call.role for call in calls] == ["model", "model"]


def test_elsewhere_a_judge_scores_the_answers_three_times() -> None:
    outcome = judged(
        OnPolicyPairs(run="first", answers=2), {"Elbe": 2.0, "Elbe, Oder, Weser": 8.0}, "Elbe", "Elbe, Oder, Weser"
    )
    assert (sides(outcome), len(outcome.metadata["judgements"])) == (("Elbe, Oder, Weser", "Elbe"), 3)


def test_against_the_sample_s_own_answer_as_spin_does() -> None:
    kind = OnPolicyPairs(run="first", answers=1, chosen="seed", temperature=1)
    [outcome], _ = played(kind, RIVERS, "I like rivers.")
    [right], _ = played(kind, SUM, "#### 4")
    assert sides(outcome) == ("Rhine, Nile, Amazon.", "I like rivers.")
    assert right.rejected_by == "all-right"


def test_answers_of_another_run_are_asked_for_anew_even_under_the_same_model_name(tmp_path: Path) -> None:
    corpus = SeededCorpus(tmp_path, [SUM])
    with Loopback(lambda body, n: "#### 4" if n % 2 else "#### 5") as server:
        first = synthesize(corpus, OnPolicyPairs(run="first", answers=2), server.spec)
        again = synthesize(corpus, OnPolicyPairs(run="first", answers=2), server.spec)
        second = synthesize(corpus, OnPolicyPairs(run="second", answers=2), server.spec)
    assert (first.calls, again.calls, second.calls, second.run != first.run) == (2, 0, 2, True)


# -------------------------------------------------------------------- what can be verified


@pytest.mark.parametrize(
    ("response", "reference"),
    [
        ("So 2 + 2 = 4.\n#### 4", "4"),
        ("\\boxed{x+1}", "x+1"),
        ("The answer is 42 apples.", "42"),
        ("答案是 3.5 公里。", "3.5"),
        ("Answer: (B)", "(B)"),
        ("The answer is a small brown bird.", None),
        ("Answer: Paris", None),
        ("There are 12 of them.", None),
    ],
)
def test_of_a_sample_s_own_answer_only_what_can_be_said_in_one_way_is_a_reference(
    response: str, reference: str | None
) -> None:
    assert reference_of(asked("What?", response)) == reference
    assert reference_of(asked("What?", response), own=False) is None
    assert reference_of(asked("What?", response, metadata={"answer": "Rome"})) == "Rome"

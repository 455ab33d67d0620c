from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.synthesis.loopback import Loopback
from tests.training.test_judging_answers import answer
from training.judging.pairwise import judged, keep_pairs, read_pairs, still_true, verdict_in
from training.judging.win_rate import conclusion, fitted, length_controlled, win_rate


def pair(
    verdict: float | None, longer: int = 0, orders: tuple[str | None, str | None] = ("tie", "tie")
) -> dict[str, Any]:
    return {
        "verdict": verdict, "lengths": [100 + longer, 100], "orders": list(orders), "inconsistent": False,
        "why": "the judge's answer can't be read" if verdict is None else None,
    }  # fmt: skip


def test_ties_count_half_and_what_can_not_be_read_does_not_count() -> None:
    found = win_rate("base", [pair(1.0), pair(1.0), pair(0.5), pair(0.0), pair(None)])
    assert (found.prompts, found.wins, found.ties, found.losses, found.unread) == (4, 2, 1, 1, 1)
    assert found.rate == 0.625
    assert found.low is not None
    assert found.low < 0.625
    assert found.reasons == {"the judge's answer can't be read": 1}
    assert (found.controlled, found.controlled_reason) == (None, "only 4 verdicts, it needs 10")
    assert win_rate("base", []).rate is None


def test_a_judge_that_takes_what_is_shown_first_is_told() -> None:
    biased = [pair(0.5, orders=("first", "first"))] * 20
    found = win_rate("base", biased)
    assert (found.first, found.rate) == (1.0, 0.5)
    assert found.first_low is not None
    assert found.first_low > 0.5


def test_at_equal_length_a_win_that_only_length_bought_is_none() -> None:
    # The longer answer wins nine times in ten, and the trained model's answers are longer three times in four.
    pairs = [pair(float((n // 4 % 10 > 0) == (n % 4 > 0)), 50 if n % 4 else -50) for n in range(200)]
    found = win_rate("base", pairs)
    assert found.rate is not None
    assert found.controlled is not None
    assert found.controlled_low is not None
    assert found.controlled_high is not None
    assert found.rate > 0.65
    assert found.controlled == pytest.approx(0.5, abs=0.05)
    assert found.controlled_low < 0.5 < found.controlled_high


def test_without_a_difference_of_length_the_controlled_rate_would_be_the_plain_one() -> None:
    verdicts = np.array([1.0] * 14 + [0.0] * 6)
    assert fitted(verdicts, np.zeros(20), np.ones((1, 20)))[0] == pytest.approx(0.7, abs=1e-6)
    assert length_controlled(verdicts, np.zeros(20))[1] == "all answers are as long as each other"
    assert length_controlled(np.ones(20), np.arange(20.0))[1] == "all verdicts are the same"


def test_the_fit_is_where_the_penalised_likelihood_has_no_slope() -> None:
    generator = np.random.default_rng(0)
    x, y = np.tanh(generator.normal(size=60)), generator.integers(0, 2, 60).astype(float)
    theta = float(np.log(1 / (1 / fitted(y, x, np.ones((1, 60)))[0] - 1)))

    def loss(phi: float, at: float) -> float:
        p = 1 / (1 + np.exp(-(at + phi * x)))
        return float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).sum() + 0.5 * phi * phi)

    grid = np.linspace(-3, 3, 3001)
    best = min(grid, key=lambda phi: loss(phi, theta))
    assert loss(best, theta) <= min(loss(best, theta + step) for step in (-0.01, 0.01))


@pytest.mark.parametrize(
    "text, verdict",
    [
        ('{"reason": "it is right", "better": "A"}', "first"),
        ('```json\n{"reason": "x", "better": "Answer B"}\n```', "second"),
        ('{"better": "tie"}', "tie"),
        ("Better: **B**", "second"),
        ("A", "first"),
        ("I like answer A for its tone and B for its facts.", None),
        ('{"better": "A"} {"better": "B"}', None),
        ("", None),
        ('{"better": "C"}', None),
        ('{"better": null}', None),
        ('{"better": "answer_b"}', "second"),
        ('{"better": "a tie"}', "tie"),
        ("Verdict: a tie", "tie"),
        ("Verdict: a draw", "tie"),
        ("Verdict: a clear win for B", None),
        ("Better: A/B tie", None),
        ("Better: A, although B is shorter", None),
        ("Verdict: a tie, though A is shorter", None),
        ("Verdict: it's a tie between A and B", "tie"),
        ("**Winner:** Answer A. It is clearer than B.", "first"),
    ],
)
def test_verdicts_are_read_or_null(text: str, verdict: str | None) -> None:
    assert verdict_in(text) == verdict


def prefers(word: str) -> Any:
    """A judge that prefers the answer with the word, and can't be read where neither has it."""

    def respond(body: dict[str, Any], _: int) -> str:
        text = body["messages"][-1]["content"]
        first, second = (text.split(f"<answer_{x}>")[1].split(f"</answer_{x}>")[0] for x in "ab")
        if word not in first + second:
            return "Well."
        return json.dumps({"better": "tie" if (word in first) == (word in second) else "A" if word in first else "B"})

    return respond


def test_both_orders_are_asked_once_and_never_again(tmp_path: Path) -> None:
    mine = [answer("good tea", id="1"), answer("hot tea", id="2"), answer("same", id="3"), answer("x", id="4")]
    base = [
        answer(text, "base", id=str(n)) for n, text in enumerate(["tea", "good hot tea", "same", "y", "unasked"], 1)
    ]
    with Loopback(prefers("good")) as server:
        rows = judged(mine, base, server.spec, calls=tmp_path / "calls.sqlite")
        assert server.requests == 6
        assert judged(mine, base, server.spec, calls=tmp_path / "calls.sqlite") == rows
        assert server.requests == 6
    assert [row["verdict"] for row in rows] == [1.0, 0.0, 0.5, None]
    assert rows[0]["orders"] == ["first", "second"]
    assert rows[2]["why"] == "both wrote the same"
    assert (rows[3]["raw"], rows[3]["why"]) == (["Well.", "Well."], "the judge's answer can't be read")
    keep_pairs(tmp_path, rows)
    assert read_pairs(tmp_path) == rows


def test_a_judge_that_always_says_the_same_letter_gives_ties(tmp_path: Path) -> None:
    with Loopback(lambda body, _: '{"better": "A"}') as server:
        rows = judged([answer("one")], [answer("two", "base")], server.spec, calls=None)
    assert (rows[0]["verdict"], rows[0]["inconsistent"], rows[0]["orders"]) == (0.5, True, ["first", "first"])
    assert math.isclose(win_rate("base", rows).first or 0, 1.0)


def test_a_verdict_counts_for_the_very_answers_that_were_judged(tmp_path: Path) -> None:
    mine, base = [answer("good tea", id="1"), answer("x", id="2")], [answer("tea", "base", id=n) for n in "12"]
    with Loopback(lambda body, _: '{"better": "A"}') as server:
        rows = judged(mine, base, server.spec, calls=None)
    assert still_true(rows, {"trained": mine, "base": base}, "base") == rows
    assert still_true(rows, {"trained": mine, "base": base}, "random") == []
    for changed in ({"text": "other tea"}, {"text": "good tea", "reference": "tea"}):
        again = [answer(**{"id": "1", **changed}), mine[1]]
        assert [r["id"] for r in still_true(rows, {"trained": again, "base": base}, "base")] == ["2"]
    old = [{name: value for name, value in row.items() if name != "texts"} for row in rows]
    assert still_true(old, {"trained": mine, "base": base}, "base") == []


def test_a_position_bias_is_counted_over_pairs_whose_two_orders_could_be_read() -> None:
    found = win_rate("base", [pair(1.0, orders=("first", "second")), *[pair(None, orders=("first", None))] * 8])
    assert found.first == 0.5


def test_a_win_rate_concludes_nothing_from_few_verdicts() -> None:
    from dataclasses import asdict

    def said(won: int, lost: int) -> str:
        return conclusion(asdict(win_rate("base", [*[pair(1.0)] * won, *[pair(0.0)] * lost])))

    assert said(4, 0) == "not proven with fewer than 10 verdicts"
    assert said(9, 2) == "not proven"
    assert (said(10, 2), said(2, 10)) == ("better", "worse")
    assert conclusion(asdict(win_rate("base", [pair(0.5)] * 12))) == "not proven"

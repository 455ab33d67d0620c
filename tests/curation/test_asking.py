"""What a scorer that asks a chat model owes: no answer lost, nothing asked twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pytest

from curation.errors import ModelError
from curation.language_models.asking import REFUSED, answers, why_failed
from curation.language_models.models import ChatRequest, Completion
from curation.operators import NOT_REACHED, Scorer
from curation.scorers import InsTag, Judge, RankedJudge
from curation.scoring import score
from tests.curation.samples import corpus_of, pair
from tests.synthesis.loopback import Loopback, refusal


class Moody(Scorer):
    """Reaches its model for half of the samples at first."""

    name: ClassVar[str] = "moody"
    reached: ClassVar[set[str]] = set()

    @property
    def columns(self) -> dict[str, str]:
        return {"moody": "DOUBLE"}

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        known = [text in self.reached for text in batch["instruction"]]
        return pl.DataFrame(
            {
                "moody": [1.0 if k else None for k in known],
                "reason": [None if k else f"{NOT_REACHED}timed out" for k in known],
            },
            schema={"moody": pl.Float64, "reason": pl.String},
        )


def test_a_sample_whose_call_failed_is_measured_again_by_the_next_run(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", [pair("one", "a"), pair("two", "b")])
    Moody.reached = {"one"}
    first = score(corpus, Moody())
    assert (first.scored, first.unscored) == (1, {f"{NOT_REACHED}timed out": 1})
    Moody.reached = {"one", "two"}
    second = score(corpus, Moody())
    assert (second.scored, second.unscored, second.already) == (1, {}, 1)
    assert corpus.frame(["moody"])["moody"].to_list() == [1.0, 1.0]


def requests(*texts: str) -> list[ChatRequest]:
    return [ChatRequest((("user", text),)) for text in texts]


def too_long(body: Any, number: int) -> Any:
    text = body["messages"][0]["content"]
    return refusal(400, f"too long by {len(text)}", "context_length_exceeded") if "LONG" in text else '{"accuracy": 4}'


def test_samples_too_long_for_the_model_are_null_for_good_and_stop_nobody(tmp_path: Path) -> None:
    long = [pair(f"LONG {'x' * i}?", "1") for i in range(25)]
    corpus = corpus_of(tmp_path / "c", [*long, *(pair(f"{i}?", "1") for i in range(5))])
    with Loopback(too_long) as server:
        judge = Judge(model=server.spec, dimensions=("accuracy",), concurrency=1)
        first = score(corpus, judge)
        assert (first.scored, sum(first.unscored.values())) == (5, 25)
        assert all(reason.startswith("the model refused the request: Error code: 400") for reason in first.unscored)
        assert score(corpus, judge).already == 30
        assert server.requests == 30


@pytest.mark.parametrize("kind", [InsTag, RankedJudge])
def test_what_was_refused_is_a_reason_of_the_sample_and_what_was_not_reached_is_not(
    tmp_path: Path, kind: Callable[..., Scorer]
) -> None:
    corpus = corpus_of(tmp_path / "c", [pair("One?", "1"), pair("Two?", "2")])
    with Loopback(lambda body, n: refusal(413, "too large")) as server:
        [reason] = score(corpus, kind(model=server.spec)).unscored
        assert reason.startswith(REFUSED)
        assert score(corpus, kind(model=server.spec)).already == 2


def test_of_several_failures_the_one_that_may_still_be_answered_is_told() -> None:
    refused, lost = Completion(None, error="too long", refused=True), Completion(None, error="timed out")
    assert why_failed([refused, Completion("4")]) == "the model refused the request: too long"
    assert why_failed([refused, lost]) == f"{NOT_REACHED}timed out"
    assert why_failed([Completion("4")]) is None


def test_a_parameter_that_every_request_is_refused_for_stops_the_run() -> None:
    with (
        Loopback(lambda body, n: refusal(400, "temperature is not supported")) as server,
        pytest.raises(ModelError, match=r"All 20 requests were refused: .* temperature is not supported"),
    ):
        answers(server.spec, requests(*map(str, range(20))), calls=None, run="r")


def test_answers_come_inside_a_running_event_loop_too() -> None:
    async def in_a_notebook(spec: str) -> list[Completion]:
        return answers(spec, requests("One?"), calls=None, run="r")

    with Loopback(lambda body, n: "fine") as server:
        [found] = asyncio.run(in_a_notebook(server.spec))
    assert found.text == "fine"


@pytest.mark.parametrize(
    "address", ["http://me:S3CRET@127.0.0.1:9/v1#m", "http://127.0.0.1:9/v1?key=S3CRET#m", "HTTP://me:S3/CRET@h/v1#m"]
)
def test_a_password_or_a_key_in_an_address_is_refused_before_anything_is_stored(tmp_path: Path, address: str) -> None:
    class Own(Moody):
        model: str

    corpus = corpus_of(tmp_path / "c", [pair("One?", "1")])
    for kind in (Judge, RankedJudge, InsTag, Own):
        with pytest.raises(ModelError, match="which would be stored") as raised:
            score(corpus, kind(model=address))
        assert "S3" not in str(raised.value)
    assert corpus.score_runs() == []

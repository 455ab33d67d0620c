from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from curation.errors import CorpusError, ModelError, OperatorError
from curation.language_models.calls import CallStore
from synthesis import Distill, EvolInstruct, VerifiedPairs, synthesize
from tests.synthesis.loopback import Loopback, plausible, refusal
from tests.synthesis.samples import SeededCorpus, asked

ROOT = Path(__file__).parents[2]
RIVERS = [asked("Name three rivers.", "Rhine, Nile, Amazon."), asked("说出三条河流。", "长江、黄河、珠江。")]


def many(count: int) -> list:
    return [asked(f"Explain rule number {n} of chess.", f"Rule {n} says so.") for n in range(count)]


def texts(corpus: SeededCorpus) -> list[tuple]:
    return [(o["id"], o["parents"], o["metadata"], o["rejected_by"]) for o in corpus.outcomes()]


def test_new_samples_know_where_they_come_from(tmp_path):
    corpus = SeededCorpus(tmp_path, RIVERS)
    with Loopback() as server:
        report = synthesize(corpus, EvolInstruct(), server.spec)
    assert (report.seeds, report.accepted, report.calls, server.requests) == (2, 2, 6, 6)
    assert report.cost_usd is None
    assert "no price is known for loopback" in report.cost_reason
    new = corpus.outcomes()[0]
    seed = next(s for s in RIVERS if s.id == new["parents"][0])
    metadata = json.loads(new["metadata"])
    assert new["instruction"].startswith(seed.instruction)
    assert (new["source"], new["shape"], new["rejected_by"]) == ("synthesis/evol-instruct", "messages", None)
    assert (metadata["seed_id"], metadata["round"]) == (seed.id, 1)
    assert set(metadata["calls"]) == {"evolve", "judge", "answer"}
    assert json.loads(new["operator"])["model"] == "loopback"
    with CallStore(tmp_path / "calls.sqlite") as calls:
        assert calls.lookup(metadata["calls"]["answer"])["choices"][0]["message"]["content"] == new["response"]


def test_the_same_command_again_calls_nobody_and_adds_nothing(tmp_path):
    corpus = SeededCorpus(tmp_path, RIVERS)
    with Loopback() as server:
        first = synthesize(corpus, Distill(answers=2), server.spec)
        before = texts(corpus)
        again = synthesize(corpus, Distill(answers=2), server.spec)
    assert (server.requests, again.calls, again.accepted, again.resumed) == (4, 0, 0, 2)
    assert (again.run, again.cost_usd, texts(corpus)) == (first.run, 0.0, before)


def test_another_run_with_the_same_questions_is_answered_from_the_store(tmp_path):
    with Loopback() as server:
        synthesize(SeededCorpus(tmp_path, RIVERS), Distill(), server.spec)
        other = synthesize(SeededCorpus(tmp_path, RIVERS), Distill(), server.spec, limit=1)
    assert (server.requests, other.calls, other.cached_calls, other.duplicates) == (2, 0, 1, 1)


def test_more_seed_samples_never_reorder_the_first(tmp_path):
    corpus = SeededCorpus(tmp_path, many(30))
    with Loopback() as server:
        synthesize(corpus, Distill(), server.spec, limit=5)
        synthesize(corpus, Distill(), server.spec, limit=10)
        assert server.requests == 10
        synthesize(corpus, Distill(), server.spec, limit=10, seed=1)
    assert server.requests > 10


def test_seed_samples_meet_the_condition_and_are_not_made_by_synthesis(tmp_path):
    made = asked("Name three synthetic rivers.", operator="{}")
    corpus = SeededCorpus(tmp_path, [*RIVERS, made])
    with Loopback() as server:
        report = synthesize(corpus, Distill(), server.spec, where="instruction LIKE '%river%' -- only English")
    assert (report.seeds, server.requests) == (1, 1)


def test_without_a_seed_sample_there_are_two_lines_and_no_call(tmp_path):
    with Loopback() as server, pytest.raises(CorpusError, match="No sample of those where id = 'x'"):
        synthesize(SeededCorpus(tmp_path, RIVERS), Distill(), server.spec, where="id = 'x'")
    with pytest.raises(OperatorError, match="limit is 0"):
        synthesize(SeededCorpus(tmp_path, RIVERS), Distill(), server.spec, limit=0)


def test_a_seed_sample_that_failed_is_tried_again_by_the_next_command(tmp_path):
    corpus = SeededCorpus(tmp_path, RIVERS)
    broken = True

    def sometimes(body, n):
        return refusal(405, "no") if broken and "three" in body["messages"][0]["content"] else plausible(body)

    with Loopback(sometimes) as server:
        first = synthesize(corpus, Distill(), server.spec)
        broken = False
        second = synthesize(corpus, Distill(), server.spec)
    assert (first.accepted, first.failed, second.accepted, second.failed, second.resumed) == (1, 1, 1, 0, 1)
    assert "no" in first.first_failure


def test_when_every_seed_sample_fails_the_run_fails_and_shows_the_first_answer(tmp_path):
    with (
        Loopback(lambda body, n: refusal(405, "top_p is not supported")) as server,
        pytest.raises(ModelError, match=r"None of the 2 seed samples .* the first: answer: .*top_p is not supported"),
    ):
        synthesize(SeededCorpus(tmp_path, RIVERS), Distill(), server.spec)


def test_a_series_of_failures_stops_a_long_run_early(tmp_path):
    with (
        Loopback(lambda body, n: refusal(405, "no")) as server,
        pytest.raises(ModelError, match="20 seed samples failed in a row"),
    ):
        synthesize(SeededCorpus(tmp_path, many(200)), Distill(), server.spec, concurrency=4)
    assert server.requests < 40


def test_what_the_endpoint_refuses_is_settled_and_the_rest_goes_on(tmp_path):
    corpus = SeededCorpus(tmp_path, RIVERS)

    def too_long(body, n):
        return refusal(400, "too long for me") if "three" in body["messages"][0]["content"] else plausible(body)

    with Loopback(too_long) as server:
        first = synthesize(corpus, Distill(), server.spec)
        again = synthesize(corpus, Distill(), server.spec)
    assert (first.accepted, first.rejected, first.failed, again.resumed) == (1, {"refused": 1}, 0, 2)
    assert ["too long for me" in (o["detail"] or "") for o in corpus.outcomes()].count(True) == 1


def test_a_series_of_refusals_is_about_how_they_are_asked_and_stops_the_run(tmp_path):
    with (
        Loopback(lambda body, n: refusal(400, "top_p is not supported")) as server,
        pytest.raises(ModelError, match=r"20 requests in a row were refused; the last: .*top_p is not supported"),
    ):
        synthesize(SeededCorpus(tmp_path, many(200)), Distill(), server.spec, concurrency=4)


def test_a_run_of_which_nothing_was_accepted_has_failed_and_shows_the_first_text(tmp_path):
    corpus = SeededCorpus(tmp_path, RIVERS)
    with Loopback(lambda body, n: "I'm sorry, I can't.") as server:
        for _ in range(2):
            with pytest.raises(ModelError, match=r"None of 2 outcomes was accepted; the first by 'refusal'.*I'm sorry"):
                synthesize(corpus, Distill(), server.spec)
    assert (server.requests, len(corpus.outcomes())) == (2, 2)


def test_a_wrong_key_leaves_what_was_answered_and_the_right_one_goes_on(tmp_path):
    corpus = SeededCorpus(tmp_path, many(6))
    with Loopback(lambda body, n: refusal(401, "key expired") if n == 4 else plausible(body)) as server:
        with pytest.raises(ModelError, match="key expired"):
            synthesize(corpus, Distill(), server.spec, concurrency=1)
        report = synthesize(corpus, Distill(), server.spec, concurrency=1)
    assert (report.accepted, report.cached_calls + report.calls) == (6, 6)
    assert report.cached_calls >= 3


def test_progress_counts_every_seed_sample(tmp_path):
    seen = []
    with Loopback() as server:
        corpus = SeededCorpus(tmp_path, RIVERS)
        synthesize(corpus, Distill(), server.spec, progress=lambda *told: seen.append(told), concurrency=1)
    assert seen == [(1, 2, "1 accepted, 0 rejected, 0 failed"), (2, 2, "2 accepted, 0 rejected, 0 failed")]


def test_calls_run_side_by_side_and_never_more_than_allowed(tmp_path):
    with Loopback(latency_seconds=0.2) as server:
        begun = time.monotonic()
        synthesize(SeededCorpus(tmp_path, many(40)), Distill(), server.spec, concurrency=20)
    assert 0.4 <= time.monotonic() - begun < 40 * 0.2


def test_answers_on_their_way_are_kept_when_the_run_has_to_stop(tmp_path):
    corpus = SeededCorpus(tmp_path, many(8))

    def fourth_is_refused(body, n):
        return refusal(401, "key expired") if n == 4 else plausible(body)

    with Loopback(fourth_is_refused, latency_seconds=0.2) as server:
        with pytest.raises(ModelError, match="key expired"):
            synthesize(corpus, Distill(), server.spec, concurrency=8)
        assert server.requests == 8
        report = synthesize(corpus, Distill(), server.spec, concurrency=8)
    assert (report.resumed + report.cached_calls, report.calls) == (7, 1)


@pytest.mark.parametrize("runs_code", [False, True])
def test_steps_that_run_programs_are_resumed_in_a_thread(tmp_path, runs_code):
    threads = set()

    class Running(Distill):
        def steps(self, sample, rng):
            threads.add(threading.current_thread())
            return (yield from super().steps(sample, rng))

    Running.runs_code = runs_code
    with Loopback() as server:
        assert synthesize(SeededCorpus(tmp_path, RIVERS), Running(), server.spec).accepted == 2
    assert (threading.main_thread() in threads) is not runs_code


def test_a_judge_that_is_the_model_is_the_same_model(tmp_path):
    with Loopback() as server:
        report = synthesize(SeededCorpus(tmp_path, RIVERS), Distill(), server.spec, judge_spec=server.spec)
    assert (report.judge, report.accepted) == (None, 2)


def test_requests_per_minute_are_kept(tmp_path):
    with Loopback() as server:
        begun = time.monotonic()
        synthesize(SeededCorpus(tmp_path, many(8)), Distill(), server.spec, requests_per_minute=600)
        assert time.monotonic() - begun >= 0.7
        with pytest.raises(OperatorError, match="tokens_per_minute is 0"):
            synthesize(SeededCorpus(tmp_path, RIVERS), Distill(), server.spec, tokens_per_minute=0)


def test_shards_are_written_now_and_then_and_at_the_end(tmp_path):
    corpus = SeededCorpus(tmp_path, many(100))
    with Loopback() as server:
        report = synthesize(corpus, Distill(), server.spec)
    assert report.accepted == 100
    assert len(list((tmp_path / "jobs").glob("*/out-*.parquet"))) < 4


def test_a_run_that_asks_nobody_needs_no_model_and_one_that_asks_says_so(tmp_path):
    told = {
        "answer": "4",
        "tries": [{"text": "It is 4.", "is_correct": True}, {"text": "It is 5.", "is_correct": False}],
    }
    corpus = SeededCorpus(tmp_path, [asked("What is 2 + 2?", "4", metadata=told)])
    report = synthesize(corpus, VerifiedPairs(answers=0), "none")
    assert (report.accepted, report.calls, report.cost_usd) == (1, 0, 0.0)
    with pytest.raises(ModelError, match="the model is 'none'"):
        synthesize(corpus, Distill(), "none")


def test_without_seed_samples_it_says_what_is_wanted(tmp_path):
    corpus = SeededCorpus(tmp_path, [asked("What is 2 + 2?", "4")])
    with pytest.raises(CorpusError, match="1 were looked at; what is wanted: something decides what is right"):
        synthesize(corpus, VerifiedPairs(answers=0), "none")

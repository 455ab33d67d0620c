"""Batches: the frontier as files, answers back by id, expired and broken ones salvaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curation.errors import CorpusError, ModelError, OperatorError
from curation.language_models.batch_files import asked, results_in, write_files
from curation.language_models.batch_results import take_results
from curation.language_models.batch_sending import poll_batches, send_files
from curation.language_models.calls import CallStore
from curation.language_models.models import ChatRequest
from curation.language_models.prices import Price, Prices
from synthesis import Distill, EvolInstruct, synthesize
from synthesis.acceptance import Acceptance
from synthesis.batching import write_batch
from synthesis.synthesizer import Call
from tests.synthesis.batch_server import BatchServer, Line, answered, expired, failed
from tests.synthesis.loopback import Loopback, plausible
from tests.synthesis.samples import SeededCorpus
from tests.synthesis.samples import asked as seed

RIVERS = [seed("Name three rivers.", "Rhine, Nile, Amazon."), seed("说出三条河流。", "长江、黄河、珠江。")]
NOWHERE = "http://127.0.0.1:9/v1#loopback"
"""Nothing listens there."""


def questions(count: int) -> list:
    return [seed(f"Explain rule number {n} of chess.", f"Rule {n} says so.") for n in range(count)]


def lines(*paths: Path | str) -> list[Line]:
    return [json.loads(line) for path in paths for line in Path(path).read_text().splitlines()]


def result_file(path: Path, results: list[Line]) -> Path:
    path.write_text("".join(json.dumps(result) + "\n" for result in results))
    return path


def echo(request: Line) -> Line:
    """An answer that names its question."""
    return answered(request, f"About this: {request['body']['messages'][-1]['content']} It is so, for two reasons.")


def answers_of(corpus: SeededCorpus) -> dict[str, str]:
    return {o["instruction"]: o["response"] for o in corpus.outcomes()}


# --------------------------------------------------------------------------------------------------------- by id


def test_a_batch_with_one_failed_and_one_missing_answer_assigns_every_other_answer_to_its_own_question(tmp_path):
    corpus = SeededCorpus(tmp_path / "c", questions(6))
    written = write_batch(corpus, Distill(), NOWHERE, tmp_path / "out")
    sent = lines(*written.files)
    output = [echo(sent[5]), echo(sent[0]), echo(sent[3]), echo(sent[4])]  # in another order, and sent[2] is missing
    files = result_file(tmp_path / "o.jsonl", output), result_file(tmp_path / "e.jsonl", [failed(sent[1], 500, "oops")])
    taken = take_results(corpus.path, files)
    assert (taken.taken, taken.failed, taken.missing, taken.first_error) == (4, 1, 1, "Error code: 500 - oops")

    again = write_batch(corpus, Distill(), NOWHERE, tmp_path / "out")
    assert (again.requests, again.finished) == (2, 4)
    assert {r["custom_id"] for r in lines(*again.files)} == {sent[1]["custom_id"], sent[2]["custom_id"]}
    with Loopback(lambda body, n: f"Live: {body['messages'][-1]['content']} Indeed, and twice so.") as server:
        report = synthesize(corpus, Distill(), server.spec)
    assert (report.calls, report.cached_calls, report.accepted) == (2, 4, 6)
    for question, answer in answers_of(corpus).items():
        assert question in answer
        asked_live = question in (sent[n]["body"]["messages"][-1]["content"] for n in (1, 2))
        assert answer.startswith("Live: " if asked_live else "About this: ")


def test_batches_alone_finish_a_run_of_several_steps_and_then_nothing_is_asked(tmp_path):
    corpus = SeededCorpus(tmp_path / "c", RIVERS)
    with Loopback() as server:
        live = synthesize(SeededCorpus(tmp_path / "live", RIVERS), EvolInstruct(), server.spec)
    rounds = 0
    while (written := write_batch(corpus, EvolInstruct(), NOWHERE, tmp_path / "out")).requests:
        results = [answered(r, plausible(r["body"])) for r in lines(*written.files)]
        take_results(corpus.path, [result_file(tmp_path / f"{rounds}.jsonl", results)])
        rounds += 1
    report = synthesize(corpus, EvolInstruct(), NOWHERE)
    assert (rounds, written.finished, report.calls, report.cached_calls) == (3, 2, 0, live.calls)
    assert written.run == report.run == live.run
    assert [o["id"] for o in corpus.outcomes()] == [o["id"] for o in SeededCorpus(tmp_path / "live").outcomes()]


def test_taking_a_file_twice_keeps_nothing_twice(tmp_path):
    corpus = SeededCorpus(tmp_path / "c", RIVERS)
    sent = lines(*write_batch(corpus, Distill(), NOWHERE, tmp_path / "out").files)
    file = result_file(tmp_path / "o.jsonl", [echo(sent[0]), failed(sent[1], 500, "oops")])
    first, second = take_results(corpus.path, [file, file]), take_results(corpus.path, [file])
    assert (first.taken, first.known, second.taken, second.known) == (1, 1, 0, 1)
    with CallStore(corpus.path / "calls.sqlite") as calls:
        assert calls.last() == 2


def test_a_result_file_that_is_cut_off_or_holds_strangers_gives_what_it_holds(tmp_path):
    corpus = SeededCorpus(tmp_path / "c", RIVERS)
    sent = lines(*write_batch(corpus, Distill(), NOWHERE, tmp_path / "out").files)
    file = result_file(tmp_path / "o.jsonl", [echo(sent[0]), echo({**sent[0], "custom_id": "f" * 32})])
    with file.open("a") as open_file:
        open_file.write(json.dumps(echo(sent[1]))[:-30])
    taken = take_results(corpus.path, [file])
    assert (taken.taken, taken.strangers, taken.missing) == (1, 1, 1)
    assert taken.unreadable == (f"{file}:3",)


def test_the_file_that_was_sent_is_not_mistaken_for_results(tmp_path):
    corpus = SeededCorpus(tmp_path / "c", RIVERS)
    [file] = write_batch(corpus, Distill(), NOWHERE, tmp_path / "out").files
    with pytest.raises(CorpusError, match="holds no results"):
        take_results(corpus.path, [Path(file)])
    with pytest.raises(CorpusError, match="can't be read"):
        take_results(corpus.path, [tmp_path / "none.jsonl"])


def test_what_was_refused_is_settled_by_the_run_and_not_written_again(tmp_path):
    corpus = SeededCorpus(tmp_path / "c", RIVERS)
    sent = lines(*write_batch(corpus, Distill(), NOWHERE, tmp_path / "out").files)
    taken = take_results(corpus.path, [result_file(tmp_path / "o", [echo(sent[0]), failed(sent[1], 400, "too long")])])
    again = write_batch(corpus, Distill(), NOWHERE, tmp_path / "out")
    assert (taken.refused, again.requests, again.refused, again.files) == (1, 0, 1, ())


def test_the_errors_of_vllm_are_read_too(tmp_path):
    wrapped = {"error": {"message": "max_tokens is too large", "type": "BadRequestError", "code": 400}}
    line = {"id": "v", "custom_id": "a", "response": {"status_code": 400, "request_id": "r", "body": None}}
    [result] = results_in(result_file(tmp_path / "o", [{**line, "error": wrapped}]))
    assert (result.refused, result.error) == (True, "Error code: 400 - max_tokens is too large")


# -------------------------------------------------------------------------------------------------------- the files


def test_a_line_is_a_request_as_both_programs_read_it():
    request = ChatRequest((("user", "Hi"),), {"max_tokens": 9, "top_p": None})
    call = asked("openai:gpt-x", "gpt-x", "api.openai.com", request)
    assert json.loads(call.line) == {
        "custom_id": call.key[:32],
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "gpt-x", "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 9},
    }
    raw = asked("vllm:org/m", "org/m", "vllm", ChatRequest(prompt="<|user|>", parameters={"max_tokens": 9}))
    assert json.loads(raw.line)["body"] == {"model": "org/m", "prompt": "<|user|>", "max_tokens": 9}
    assert raw.url == "/v1/completions"


def test_files_keep_within_the_limits_and_hold_one_model_and_one_address_each(tmp_path):
    def call(n: int, model: str = "m", **kind: Any):
        kind = kind or {"messages": (("user", f"Question {n} \ud83d"),)}
        return asked(f"vllm:{model}", model, "vllm", ChatRequest(**kind))

    calls = [call(n) for n in range(5)] + [call(0, "other"), call(0, prompt="raw")]
    files = write_files(tmp_path, "run", calls, most_lines=2)
    assert sorted(len(lines(f)) for f in files) == [1, 1, 1, 2, 2]
    assert all(len({(r["body"]["model"], r["url"]) for r in lines(f)}) == 1 for f in files)
    sizes = [f.stat().st_size for f in write_files(tmp_path / "small", "run", calls, most_bytes=500)]
    assert max(sizes) <= 500
    assert write_files(tmp_path, "run", calls, most_lines=2) == files
    assert sum(len(lines(f)) for f in tmp_path.glob("*.jsonl")) == 7


def test_equal_questions_are_written_once_and_a_judge_gets_a_file_of_its_own(tmp_path):
    corpus = SeededCorpus(tmp_path / "c", RIVERS)
    first = write_batch(corpus, EvolInstruct(), NOWHERE, tmp_path / "out", judge_spec="openai:judge")
    take_results(
        corpus.path, [result_file(tmp_path / "o", [answered(r, plausible(r["body"])) for r in lines(*first.files)])]
    )
    second = write_batch(corpus, EvolInstruct(), NOWHERE, tmp_path / "out", judge_spec="openai:judge")
    assert {r["body"]["model"] for r in lines(*second.files)} == {"judge"}


def test_rules_make_the_same_run_as_in_synthesize_also_with_the_user_s_own_wording(tmp_path):
    corpus = SeededCorpus(tmp_path / "c", RIVERS)
    (tmp_path / "c" / "prompts").mkdir()
    (tmp_path / "c" / "prompts" / "accept.md").write_text("Rate it.\nScore: N\n{{instruction}}\n{{answer}}")
    rules = Acceptance(min_score=7, exact=True)
    with Loopback() as server:
        report = synthesize(corpus, Distill(), server.spec, acceptance=rules, limit=1)
        written = write_batch(corpus, Distill(), server.spec, tmp_path / "out", acceptance=rules, limit=1)
    assert (written.run, written.requests) == (report.run, 0)


def test_a_synthesizer_in_rounds_can_not_be_written(tmp_path):
    class InRounds(Distill):
        in_rounds = True

    with pytest.raises(OperatorError, match="works in rounds"):
        write_batch(SeededCorpus(tmp_path, RIVERS), InRounds(), NOWHERE, tmp_path / "out")


def test_raw_prompts_are_not_written_for_vllm_run_batch(tmp_path):
    class Raw(Distill):
        def steps(self, sample, rng):
            yield Call("ask", ChatRequest(prompt="<|user|>"))
            return []

    corpus = SeededCorpus(tmp_path / "c", RIVERS)
    with pytest.raises(OperatorError, match="raw prompts"):
        write_batch(corpus, Raw(), "vllm:org/m", tmp_path / "out")
    assert write_batch(corpus, Raw(), "openai:gpt-x", tmp_path / "out").requests == 1


# ---------------------------------------------------------------------------------------------------- OpenAI's Batch


@pytest.fixture
def openai_at(monkeypatch):
    def at(server: BatchServer) -> None:
        monkeypatch.setenv("OPENAI_BASE_URL", server.address)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")

    return at


def written(tmp_path: Path, count: int = 3) -> tuple[SeededCorpus, list[Path]]:
    corpus = SeededCorpus(tmp_path / "c", questions(count))
    return corpus, [Path(f) for f in write_batch(corpus, Distill(), "openai:gpt-x", tmp_path / "out").files]


def test_a_batch_is_sent_looked_after_and_taken_at_half_the_price(tmp_path, openai_at):
    corpus, files = written(tmp_path)
    Prices([Price("gpt-x", 2.0, 8.0)]).write(corpus.path)
    with BatchServer(lambda sent: ([echo(r) for r in reversed(sent)], [])) as server:
        openai_at(server)
        [row] = send_files(corpus.path, "openai:gpt-x", files).batches
        assert (row["state"], row["batch"], row["requests"]) == ("validating", "batch_1", 3)
        in_flight = write_batch(corpus, Distill(), "openai:gpt-x", tmp_path / "out")
        assert (in_flight.requests, in_flight.in_flight) == (0, 3)
        assert send_files(corpus.path, "openai:gpt-x", files).batches[0]["batch"] == "batch_1"
        assert poll_batches(corpus.path).open == 1
        done = poll_batches(corpus.path, wait=True, every_seconds=0.01)
        assert len(server.batches) == 1
    assert (done.open, done.taken.taken) == (0, 3)
    assert done.taken.cost_usd == pytest.approx(3 * (1000 * 2.0 + 500 * 8.0) / 1e6 / 2)
    report = synthesize(corpus, Distill(), "openai:gpt-x")
    assert (report.calls, report.accepted) == (0, 3)
    assert all(question in answer for question, answer in answers_of(corpus).items())


@pytest.mark.parametrize("state", ["expired", "cancelled"])
def test_of_a_batch_that_expired_the_answers_that_came_are_kept(tmp_path, openai_at, state):
    corpus, files = written(tmp_path)
    with BatchServer(lambda sent: ([echo(sent[1])], [expired(sent[0]), expired(sent[2])]), ("validating", state)) as s:
        openai_at(s)
        send_files(corpus.path, "openai:gpt-x", files)
        polled = poll_batches(corpus.path)
        assert (polled.taken.taken, polled.taken.unfinished, polled.batches[0]["state"]) == (1, 2, state)
        again = write_batch(corpus, Distill(), "openai:gpt-x", tmp_path / "out")
        assert (again.requests, again.in_flight) == (2, 0)
        assert poll_batches(corpus.path).taken is None
    assert polled.taken.cost_usd is None
    assert "no price is known" in polled.taken.cost_reason


def test_a_batch_that_failed_as_a_whole_says_why_and_its_file_can_be_sent_again(tmp_path, openai_at):
    corpus, files = written(tmp_path)
    with BatchServer(lambda sent: ([], []), ("validating", "failed")) as server:
        openai_at(server)
        send_files(corpus.path, "openai:gpt-x", files)
        [row] = poll_batches(corpus.path).batches
        assert (row["state"], row["reason"]) == ("failed", "Enqueued token limit reached")
        assert send_files(corpus.path, "openai:gpt-x", files).batches[0]["batch"] == "batch_2"
        assert len({b["metadata"]["winnow_file"] for b in server.batches.values()}) == 2


def test_a_batch_that_was_started_before_its_id_was_known_is_found_again_and_not_paid_twice(
    tmp_path, openai_at, monkeypatch
):
    from curation.language_models.batch_service import BatchService

    corpus, files = written(tmp_path)
    with BatchServer(lambda sent: ([echo(r) for r in sent], [])) as server:
        openai_at(server)
        create = BatchService.create

        def killed(self, *words):
            create(self, *words)
            raise KeyboardInterrupt

        monkeypatch.setattr(BatchService, "create", killed)
        with pytest.raises(KeyboardInterrupt):
            send_files(corpus.path, "openai:gpt-x", files)
        monkeypatch.setattr(BatchService, "create", create)
        [row] = send_files(corpus.path, "openai:gpt-x", files).batches
        assert (row["batch"], len(server.batches)) == ("batch_1", 1)
        assert poll_batches(corpus.path, wait=True, every_seconds=0.01).taken.taken == 3


def test_what_the_endpoint_does_not_take_is_two_lines_without_the_key(tmp_path, openai_at):
    corpus, files = written(tmp_path)
    with BatchServer(lambda sent: ([], [])) as server:
        openai_at(server)
        server.refuse = (401, "Incorrect API key provided: sk-test")
        with pytest.raises(ModelError, match="Incorrect API key") as refused:
            send_files(corpus.path, "openai:gpt-x", files)
    assert "sk-test" not in refused.value.message
    assert write_batch(corpus, Distill(), "openai:gpt-x", tmp_path / "out").requests == 3  # nothing is under way


def test_only_an_address_can_be_sent_to_and_only_files_of_this_corpus(tmp_path, openai_at, monkeypatch):
    corpus, files = written(tmp_path)
    with pytest.raises(ModelError, match="no address to send") as no_address:
        send_files(corpus.path, "vllm:org/m", files)
    assert "vllm run-batch" in no_address.value.fix
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ModelError, match="OPENAI_API_KEY is not set"):
        send_files(corpus.path, "openai:gpt-x", files)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    stranger = tmp_path / "s.jsonl"
    stranger.write_text('{"a": 1}\n')
    with pytest.raises(CorpusError, match="no request of a batch"):
        send_files(corpus.path, "openai:gpt-x", [stranger])


# -------------------------------------------------------------------------------------------------------- the command


def test_the_commands_go_from_a_corpus_to_its_new_samples(tmp_path, openai_at):
    from click.testing import CliRunner

    from studio.cli import winnow

    corpus = SeededCorpus(tmp_path / "c", questions(2))

    def said(*words: object) -> dict[str, Any]:
        done = CliRunner().invoke(winnow, [*map(str, words), "--json"], catch_exceptions=False)
        return json.loads(done.stdout)

    with BatchServer(lambda sent: ([echo(r) for r in sent[1:]], [failed(sent[0], 500, "oops")])) as server:
        openai_at(server)
        model = ("--model", "openai:gpt-x")
        first = said("batch", "write", corpus.path, "distill", tmp_path / "out", *model)
        assert said("batch", "send", corpus.path, *first["files"], *model)["batches"][0]["requests"] == 2
        polled = said("batch", "poll", corpus.path, "--wait", "--every", "0.01")
    assert (polled["taken"]["taken"], polled["taken"]["failed"]) == (1, 1)
    second = said("batch", "write", corpus.path, "distill", tmp_path / "out", *model)
    results = result_file(tmp_path / "o.jsonl", [echo(r) for r in lines(*second["files"])])
    assert said("batch", "take", corpus.path, results)["taken"] == 1
    report = said("synthesize", corpus.path, "distill", *model)
    assert (report["calls"], report["accepted"]) == (0, 2)

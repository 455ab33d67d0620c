"""Questions about documents: chunks, pairs, verdicts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from curation import ingest
from curation.language_models.models import Completion
from curation.sample import Message, Sample
from synthesis import DocumentQuestions, synthesize
from synthesis.document_questions import chunked
from tests.synthesis.loopback import Loopback
from tests.synthesis.samples import SeededCorpus, asked
from tests.synthesis.scripted import played

BEES = Sample(
    (Message("assistant", "Bees dance. The dance shows where food is. A round dance means that it is near."),)
)
PAIR = '[{"question": "What does the round dance of bees mean?", "answer": "That food is near."}]'
GOOD = '{"reason": "It says so.", "faithful": "yes", "relevant": "yes", "standalone": "yes"}'


def test_a_pair_that_the_judge_passes_is_a_sample_with_its_chunk() -> None:
    [outcome], [asking, judging] = played(DocumentQuestions(questions=1), BEES, PAIR, GOOD)
    assert outcome.messages == (
        Message("user", "What does the round dance of bees mean?"),
        Message("assistant", "That food is near."),
    )
    assert (outcome.rejected_by, outcome.calls, judging.role) == (None, (asking, judging), "judge")
    assert outcome.metadata["chunk"] == BEES.response
    assert (outcome.metadata["chunk_start"], outcome.metadata["chunks"]) == (0, 1)
    assert BEES.response in asking.request.messages[0][1]


@pytest.mark.parametrize(
    ("verdict", "rule"),
    [
        (GOOD.replace('"faithful": "yes"', '"faithful": "no"'), "unfaithful"),
        ("Faithful: yes\nRelevant: no\nStandalone: yes", "irrelevant"),
        ("理由：……\n忠实：是\n相关：是\n独立：否", "not-standalone"),
        ("It seems fine to me.", "unclear-verdict"),
        ('{"faithful": "yes"}', "unclear-verdict"),
    ],
)
def test_what_the_judge_objects_to_is_rejected_and_what_it_wrote_is_kept(verdict: str, rule: str) -> None:
    [outcome], _ = played(DocumentQuestions(questions=1), BEES, PAIR, verdict)
    assert (outcome.rejected_by, outcome.metadata["verdict_text"]) == (rule, verdict)


def test_what_is_no_pair_is_kept_as_it_was_written() -> None:
    [outcome], _ = played(DocumentQuestions(), BEES, "I have read it with pleasure.")
    assert (outcome.rejected_by, outcome.messages[0].content) == ("unreadable", "I have read it with pleasure.")


def test_the_same_question_twice_and_refused_answers_are_not_judged() -> None:
    reply = f"{PAIR[:-1]}, {PAIR[1:-1]}, {json.dumps({'question': 'Why?', 'answer': 'Sorry, I can not say.'})}]"
    outcomes, calls = played(DocumentQuestions(questions=3), BEES, reply, GOOD)
    assert [o.rejected_by for o in outcomes] == [None, "same-question", "refusal"]
    assert len(calls) == 2


def test_of_a_reply_that_was_cut_off_the_last_pair_is_rejected() -> None:
    reply = "问：蜂舞说明什么？\n答：食物在哪里。\n问：圆舞呢？\n答：食物在附"
    outcomes, _ = played(DocumentQuestions(), BEES, Completion(reply, finish_reason="length"), GOOD)
    assert [o.rejected_by for o in outcomes] == [None, "truncated"]


def test_a_long_document_is_read_in_overlapping_chunks_that_hold_all_of_it() -> None:
    text = "".join(f"Sentence number {n} says something.{' ' if n % 7 else chr(10) * 2}" for n in range(1000))
    chunks = chunked(text, 4000, 200)
    assert max(len(chunk) for _, chunk in chunks) <= 4000
    assert all(text[start : start + len(chunk)] == chunk for start, chunk in chunks)
    ends = [start + len(chunk) for start, chunk in chunks]
    overlaps = [end - start for end, (start, _) in zip(ends[:-1], chunks[1:], strict=True)]
    assert (chunks[0][0], ends[-1], min(overlaps) > 0, max(overlaps) <= 200) == (0, len(text), True, True)
    assert all(chunk.lstrip().startswith("Sentence") and chunk.rstrip().endswith(".") for _, chunk in chunks)


@pytest.mark.parametrize(("text", "count"), [("长" * 9000, 3), ("x" * 4000, 1), ("x" * 4001, 2), (" ", 1)])
def test_a_text_without_a_break_is_cut_where_it_must_be(text: str, count: int) -> None:
    chunks = chunked(text, 4000, 200)
    assert len(chunks) == count
    assert "".join(c if n == 0 else c[200:] for n, (_, c) in enumerate(chunks)) == text


def test_documents_are_seed_samples_and_others_are_not(tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").write_text(json.dumps({"title": "Bees", "text": BEES.response}))
    corpus = SeededCorpus(tmp_path / "corpus", [asked("Name a river.", "Rhine.")])
    ingest(corpus, [tmp_path / "texts.jsonl"])
    with Loopback(lambda body, n: PAIR if "different questions" in body["messages"][-1]["content"] else GOOD) as server:
        report = synthesize(corpus, DocumentQuestions(questions=1), server.spec)
        assert "#Title#\nBees" in server.bodies[0]["messages"][0]["content"]
    assert (report.seeds, report.accepted, report.calls) == (1, 1, 2)
    [made] = corpus.outcomes()
    assert made["parents"] == corpus.frame(["id"], where="shape = 'document'")["id"].to_list()

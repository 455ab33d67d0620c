"""The server of `examples/`: what it answers suits the prompts, so that every method can be tried without a model."""

from __future__ import annotations

import pytest

from curation.sample import Message, Sample
from synthesis import (
    BackTranslation,
    BestOfN,
    CodeWithTests,
    ContrastPairs,
    CritiqueRepair,
    Decomposition,
    DocumentQuestions,
    EvolAnswer,
    Magpie,
    NoisyPrompts,
    PersonaQuestions,
    SelfInstruct,
    synthesize,
)
from tests.synthesis.loopback import Loopback
from tests.synthesis.samples import SeededCorpus, asked

TEXT = (
    "The Rhine rises in the Alps. It flows through six countries on its way. It ends in the North Sea near Rotterdam."
)
SEEDS = [asked(f"Write about river {name}.", TEXT) for name in ("one", "two")]


@pytest.mark.parametrize(
    "synthesizer",
    [
        BackTranslation(min_score=1),
        BestOfN(answers=3),
        CodeWithTests(solutions=1),
        ContrastPairs(),
        CritiqueRepair(),
        Decomposition(),
        EvolAnswer(),
        Magpie(domains=("general", "chinese")),
        NoisyPrompts(ways=("written",)),
        PersonaQuestions(),
        SelfInstruct(),
    ],
    ids=lambda synthesizer: synthesizer.name,
)
def test_a_method_gets_answers_that_it_can_use(tmp_path, synthesizer):
    with Loopback(varied=True) as server:
        report = synthesize(SeededCorpus(tmp_path, SEEDS), synthesizer, server.spec, limit=2)
    assert report.accepted, report.rejected


def test_questions_on_a_document_come_with_its_own_sentences(tmp_path):
    with Loopback() as server:
        corpus = SeededCorpus(tmp_path, [Sample((Message("assistant", TEXT),))])
        report = synthesize(corpus, DocumentQuestions(), server.spec)
    assert report.accepted
    assert "The Rhine rises in the Alps." in {outcome["response"] for outcome in corpus.outcomes()}

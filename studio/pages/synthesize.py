"""The Synthesize page: new samples from seed samples, and what became of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from studio import forms
from studio.pages import synthesis_results
from studio.pages.distribution import both

if TYPE_CHECKING:
    from curation.corpus import Corpus

KINDS = {"demo": "Demo answers (default)", "address": "Server address", "openai": "OpenAI"}
NO_SEEDS = {
    "demo": "No sample of the working set has a demo answer: choose a server address or OpenAI.",
    "other": "No sample of the working set can be a seed sample.",
}
SEEDS = "operator IS NULL AND instruction <> ''"
"""What can be a seed sample: it has an instruction and was not made here."""


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title("Synthesize")
    st.caption("Make new samples from seed samples with a language model; what a rule rejects is kept with that rule.")
    if not corpus.count():
        forms.empty_state("New samples appear here", "There are no seed samples yet.", "ingest")
        return
    where = forms.working_set(corpus)
    _synthesize(corpus, where)
    synthesis_results.section(corpus)


def _synthesize(corpus: Corpus, where: str | None) -> None:
    from synthesis.synthesizers import SYNTHESIZERS

    form, command = st.columns([3, 2], gap="large")
    with form:
        synthesizer, options = forms.operator_form(SYNTHESIZERS, key="synthesizer")
        model, reason = _model()
        seeds = corpus.count(both(where, _suitable(model)))
        limit_cell, seed_cell = st.columns(2)
        most = max(1, seeds)
        limit = limit_cell.number_input(
            "Seed samples",
            1,
            most,
            min(20, most),
            key="synthesize_limit",
            help="Drawn by the random seed from the working set; a larger number keeps the ones drawn before.",
        )
        seed = seed_cell.number_input("Random seed", 0, value=0, key="synthesize_seed")
    with command:
        argv = ["synthesize", str(corpus.path), synthesizer.name, "--model", model, *options, "--limit", str(limit)]
        argv += ["--seed", str(seed)] if seed else []
        argv += ["--where", where] if where else []
        _cost(model, int(limit), seeds)
        reason = reason or (None if seeds else NO_SEEDS["demo" if model == "demo" else "other"])
        forms.command_box(
            corpus, argv, key="synthesize", label=f"Synthesize from {limit:,} samples", disabled_reason=reason
        )


def _suitable(model: str) -> str:
    """The condition for seed samples that this model can answer."""
    from studio.demo_corpus import DEMO_SEED_SAMPLES

    return both(SEEDS, DEMO_SEED_SAMPLES) if model == "demo" else SEEDS


def _model() -> tuple[str, str | None]:
    """The chat model's spec, and why it can't be used yet."""
    kind = st.segmented_control(
        "Model", list(KINDS), format_func=lambda k: KINDS[k], default="demo", required=True, key="synthesize_kind"
    )
    if kind == "address":
        address = st.text_input("Address", placeholder="http://localhost:8000/v1", key="synthesize_address").strip()
        name = st.text_input("Model name", placeholder="Qwen/Qwen3-8B", key="synthesize_served").strip()
        st.caption(
            "Any OpenAI-compatible server: vLLM, llama.cpp, Ollama. A key is read from WINNOW_API_KEY, never stored."
        )
        ready = bool(address and name)
        return (
            f"{address or 'http://HOST:PORT/v1'}#{name or 'MODEL'}",
            None if ready else "Give the address and the model.",
        )
    if kind == "openai":
        name = st.text_input("Model name", placeholder="gpt-4.1-mini", key="synthesize_openai").strip()
        st.caption("The key is read from OPENAI_API_KEY in the environment of the studio, and never stored.")
        return f"openai:{name or 'MODEL'}", None if name else "Name the model."
    st.caption(
        "Replays answers that ship with the demo corpus: nothing is sent, nothing is paid, and only its seed samples "
        "are answered. With your own data choose a server address or OpenAI."
    )
    return "demo", None


def _cost(model: str, limit: int, seeds: int) -> None:
    st.caption(f"{seeds:,} samples of the working set can be seed samples; {min(limit, seeds):,} are drawn.")
    if model == "demo":
        st.caption("Cost: none, the answers are replayed.")
    else:
        st.caption(
            "Cost: unknown before the run, which is not zero. Every call is kept with its tokens, and a finished call "
            "is never paid twice. Try a few seed samples first."
        )

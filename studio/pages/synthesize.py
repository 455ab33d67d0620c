"""The Synthesize page: new samples from seed samples, what they will cost, and what became of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import WinnowError
from studio import forms
from studio.fields import setting
from studio.languages import mark, t, told
from studio.pages import synthesis_costs, synthesis_prompts, synthesis_results
from studio.pages.distribution import both

if TYPE_CHECKING:
    from curation.corpus import Corpus
    from synthesis.acceptance import Acceptance
    from synthesis.synthesizer import Synthesizer

KINDS = {
    "demo": mark("Demo answers"), "address": mark("Server address"), "openai": "OpenAI", "vllm": "vLLM",
    "none": mark("No model"),
}  # fmt: skip
NO_SEEDS = {
    "demo": mark("No sample of the working set has a demo answer: choose a server address or OpenAI."),
    "own": mark(
        "The demo has no answers for seed samples that are not in its corpus: choose a server address or OpenAI."
    ),
    "other": mark("No sample of the working set can be a seed sample."),
}
MOST_SEEDS = 1_000_000
CHEAP = (
    *("whole", "refusals", "eliminate", "language", "min_answer_words", "max_answer_words", "min_instruction_words"),
    *("max_instruction_words", "max_characters", "answer_format", "banned"),
)
KNOWN = ("exact", "max_rouge", "max_cosine", "encoder", "compare", "parents_count", "benchmarks")
DEAR = ("min_score", "judge_max_tokens", "run_tests", "test_seconds", "test_memory_mb")


@dataclass(frozen=True)
class Filled:
    """The form as it is filled in."""

    operator: Synthesizer | None
    acceptance: Acceptance | None
    model: str
    judge: str | None
    argv: list[str]
    """The command without what a pilot adds."""
    missing: list[str] = field(default_factory=list)
    """Why it can't run yet."""


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title(t("Synthesize"))
    st.caption(
        t("Make new samples from seed samples with a language model; what a rule rejects is kept with that rule.")
    )
    if not corpus.count():
        forms.empty_state(
            t("New samples appear here"), t("There are no seed samples yet: bring a file of samples first."), "ingest"
        )
        if not st.toggle(t("Begin without any: textbook, magpie and personas from a file need none"), key="unseeded"):
            return
    where = forms.working_set(corpus)
    _synthesize(corpus, where)
    synthesis_results.section(corpus)


def _synthesize(corpus: Corpus, where: str | None) -> None:
    form, command = st.columns([3, 2], gap="large")
    with form:
        filled, asked = _form(corpus, where)
    with command:
        synthesis_costs.before(corpus, filled, asked)


def _form(corpus: Corpus, where: str | None) -> tuple[Filled, synthesis_costs.Asked]:
    from synthesis.synthesizers import SYNTHESIZERS

    synthesizer, options = forms.operator_form(SYNTHESIZERS, key="synthesizer")
    missing: list[str] = []
    model, reason = _model(corpus, "synthesize")
    judge, judge_reason = _judge()
    missing += [why for why in (reason, judge_reason) if why]
    operator = _built(lambda: _operator(synthesizer, options), missing)
    asked = _asked(corpus, where, model, operator, missing)
    rules = _acceptance(corpus)
    acceptance = _built(lambda: _rules(rules), missing)
    names = (*synthesizer.prompts, *(("accept",) if any(rule.startswith("min_score=") for rule in rules) else ()))
    synthesis_prompts.section(corpus, names)
    argv = ["synthesize", str(corpus.path), synthesizer.name, "--model", model, *options]
    argv += ["--judge", judge] if judge else []
    for rule in rules:
        argv += ["--accept", rule]
    argv += asked.options()
    argv += ["--where", where] if where else []
    return Filled(operator, acceptance, model, judge, argv, missing), asked


def _operator(synthesizer: type[Synthesizer], options: list[str]) -> Synthesizer:
    from curation.operators import build
    from studio.commands.performing import pairs

    built = build("synthesizer", (synthesizer,), synthesizer.name, pairs(options[1::2], "--set"))
    assert isinstance(built, synthesizer)
    return built


def _rules(rules: list[str]) -> Acceptance:
    from studio.commands.synthesizing import acceptance

    return acceptance(rules)


def _built(build: Any, missing: list[str]) -> Any:
    try:
        return build()
    except WinnowError as error:
        missing.append(told(error)[0])
        return None


def _asked(
    corpus: Corpus, where: str | None, model: str, operator: Synthesizer | None, missing: list[str]
) -> synthesis_costs.Asked:
    """How many seed samples, at which pace, and for how much."""
    from synthesis.drawing import seed_condition

    drawn_from = both(where, demo_seeds()) if model == "demo" else where
    own = _built(lambda: operator.own_seeds(1, 0), missing) if operator is not None else None
    seeds = None
    if own is not None and model == "demo":
        missing.append(t(NO_SEEDS["own"]))
    elif own is None and operator is not None:
        seeds = corpus.count(seed_condition(operator, drawn_from))
        missing += [] if seeds else [t(NO_SEEDS["demo" if model == "demo" else "other"])]
    cells = st.columns(3)
    limit = cells[0].number_input(
        t("Seed samples"), 1, MOST_SEEDS, 20, key="synthesize_limit",
        help=t(
            "At most so many are drawn by the random seed from the working set; a larger number keeps those drawn "
            "before."
        ),
    )  # fmt: skip
    seed = cells[1].number_input(t("Random seed"), 0, value=0, key="synthesize_seed")
    budget = cells[2].number_input(
        t("Budget (US dollars)"), 0.0, value=None, placeholder=t("no limit"), format="%.2f", key="synthesize_budget",
        help=t("What all commands of this run may spend, model and judge together. It is never exceeded."),
    )  # fmt: skip
    with st.expander(t("Pace and price"), icon=":material/speed:"):
        cells = st.columns(3)
        concurrency = cells[0].number_input(t("Calls at the same time"), 1, value=16, key="synthesize_concurrency")
        requests = cells[1].number_input(
            t("Requests per minute"), 1, value=None, placeholder=t("as the endpoint says"), key="synthesize_requests"
        )
        tokens = cells[2].number_input(
            t("Tokens per minute"), 1, value=None, placeholder=t("as the endpoint says"), key="synthesize_tokens"
        )
        free = st.toggle(t("Models on this machine cost nothing"), key="synthesize_free")
        synthesis_costs.price_form(corpus, model)
    return synthesis_costs.Asked(
        where=drawn_from,
        seeds=seeds,
        limit=int(limit),
        seed=int(seed),
        budget=budget or None,
        concurrency=int(concurrency),
        requests_per_minute=requests,
        tokens_per_minute=tokens,
        free=free,
    )


def demo_seeds() -> str:
    """The condition for seed samples that have a demo answer."""
    from studio.demo_corpus import DEMO_SEED_SAMPLES

    return DEMO_SEED_SAMPLES


def _model(corpus: Corpus, key: str) -> tuple[str, str | None]:
    """The chat model's spec, and why it can't be used yet; without demo seed samples a server is offered first."""
    first = "demo" if corpus.count(demo_seeds()) else "address"
    kind = st.segmented_control(
        t("Model"), list(KINDS), format_func=lambda k: t(KINDS[k]), default=first, required=True, key=f"{key}_kind"
    )
    if kind == "address":
        cells = st.columns(2)
        address = (
            cells[0].text_input(t("Address"), placeholder="http://localhost:8000/v1", key=f"{key}_address").strip()
        )
        name = cells[1].text_input(t("Model name"), placeholder="Qwen/Qwen3-8B", key=f"{key}_served").strip()
        st.caption(
            t("Any OpenAI-compatible server: vLLM, llama.cpp, Ollama. A key is read from WINNOW_API_KEY, never stored.")
        )
        ready = bool(address and name)
        return (
            f"{address or 'http://HOST:PORT/v1'}#{name or 'MODEL'}",
            None if ready else t("Give the address and the model."),
        )
    if kind == "openai":
        name = st.text_input(t("Model name"), placeholder="gpt-4.1-mini", key=f"{key}_openai").strip()
        st.caption(t("The key is read from OPENAI_API_KEY in the environment of the studio, and never stored."))
        return f"openai:{name or 'MODEL'}", None if name else t("Name the model.")
    if kind == "vllm":
        name = st.text_input(t("Model"), placeholder=t("Qwen/Qwen3-8B or a folder"), key=f"{key}_vllm").strip()
        st.caption(t("Started from vLLM's own environment (`make vllm`) and stopped when the run has ended."))
        return f"vllm:{name or 'MODEL'}", None if name else t("Name the model.")
    if kind == "none":
        st.caption(t("For what asks nobody, such as verified-pairs with answers=0, where labels came with the data."))
        return "none", None
    st.caption(
        t(
            "Replays answers that ship with the demo corpus: nothing is sent, nothing is paid, and only its seed "
            "samples are answered. With your own data choose a server address or OpenAI."
        )
    )
    return "demo", None


def _judge() -> tuple[str | None, str | None]:
    """The judge's spec where it is another model, and why it can't be used yet."""
    if not st.toggle(t("Another model judges"), key="synthesize_judged", help=t("A stronger one judges better.")):
        return None, None
    spec = st.text_input(
        t("Judge"), placeholder=t("openai:gpt-4.1 or http://localhost:8001/v1#MODEL"), key="synthesize_judge"
    ).strip()
    return spec or None, None if spec else t("Name the judge.")


def _acceptance(corpus: Corpus) -> list[str]:
    """Rules for new samples as NAME=VALUE words."""
    from synthesis.acceptance import Acceptance

    words: list[str] = []
    with st.expander(t("Acceptance: what a new sample must be like"), icon=":material/fact_check:"):
        st.caption(
            t("Beside the synthesizer's own rules, cheap ones first; each rejected outcome is kept with its rule.")
        )
        groups = {
            t("Text"): CHEAP,
            t("Against seed samples, the corpus and benchmarks"): KNOWN,
            t("Judge and execution"): DEAR,
        }
        listed = {name for names in groups.values() for name in names}
        other = tuple(name for name in Acceptance.model_fields if name not in listed)
        for title, names in {**groups, t("Other"): other}.items():
            known = [name for name in names if name in Acceptance.model_fields]
            if known:
                st.markdown(f"**{title}**")
            cells = st.columns(3)
            for place, name in enumerate(known):
                with cells[place % 3]:
                    words += setting(Acceptance, name, key="acceptance")[1:]
    return words

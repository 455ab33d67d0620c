"""The Score page: measure samples, place them by meaning, and read what came out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import streamlit as st

from curation import vectors
from curation.errors import ModelError, WinnowError
from curation.storage.sql import working
from studio import forms
from studio.pages import choosing, correlation, distribution, tag_aliases

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus
    from curation.storage.stored import ScoreRun

TEXTS = {"both": "Instruction and response", "instruction": "Instruction", "response": "Response"}
LOOKED_AT = 50
"""Samples of every source whose metadata is looked at for numbers."""
ENCODERS = {
    "lexical": "Lexical (default)",
    "sentence-transformers": "Sentence-transformers model",
    "file": "Vectors from a file",
}


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title("Score")
    st.caption(
        "Measure every sample: length, quality signals, difficulty, your own numbers. Thresholds are chosen later."
    )
    samples = corpus.count()
    if not samples:
        forms.empty_state(
            "Scores appear here",
            "Scorers measure samples, and there are none yet.",
            "ingest",
        )
        return
    where = forms.working_set(corpus)
    scorer, embedding, model = st.tabs(["Scorers", "Embeddings", "Warm-up model"])
    with scorer:
        section(corpus, where)
    with embedding:
        _embed(corpus, samples)
    with model:
        _warm_up(corpus, samples)
    _scored(corpus)
    distribution.section(corpus, where)
    correlation.section(corpus, where)
    tag_aliases.section(corpus)


def section(corpus: Corpus, where: str | None) -> None:
    """The form of a scorer, and its command."""
    from curation.scorers import SCORERS

    form, command = st.columns([3, 2], gap="large")
    with form:
        choices = {**choosing.offered(corpus), "field": metadata_fields(corpus), "target": []}
        scorer, options = forms.operator_form(SCORERS, key="scorer", choices=choices)
        reason = _waits_for(corpus, choosing.filled("scorer", scorer, options), options)
    with command:
        argv = ["score", str(corpus.path), scorer.name, *options, *_where(where)]
        rows = corpus.count(working(where))
        reason = reason or (None if rows else "The working set is empty.")
        forms.command_box(corpus, argv, key="score", label="Score", disabled_reason=reason, rows=rows)


def _waits_for(corpus: Corpus, filled: choosing.Filled, options: list[str]) -> str | None:
    """Why the scorer can't run yet: something is not filled in, or there is no column, no embedding, no model."""
    reason = choosing.waits_for(corpus, filled)
    if reason is not None or filled.operator is None:
        return reason
    if filled.operator.needs_vectors and not vectors.embeddings(corpus):
        return "It reads vectors: make an embedding on the tab Embeddings first."
    if "target_source" in type(filled.operator).model_fields and not any(o.startswith("target") for o in options):
        return "Name a target first: a file, a tag or a source."
    try:
        filled.operator.in_corpus(corpus.path)
    except ModelError:
        st.info(
            "This scorer asks a language model. Train the small local one on the tab Warm-up model, or name one in "
            "the form."
        )
        return "No model yet: train the warm-up model, or name one."
    except WinnowError as error:
        return f"{error.message} Fix: {error.fix}"
    return None


def metadata_fields(corpus: Corpus) -> list[str]:
    """Metadata fields that hold numbers, of the first samples of every source."""
    found = corpus.query(
        "SELECT DISTINCT f.key FROM (SELECT metadata FROM samples WHERE metadata IS NOT NULL "
        f"QUALIFY row_number() OVER (PARTITION BY source ORDER BY position) <= {LOOKED_AT}) s, json_each(s.metadata) f "
        "WHERE f.type IN ('UBIGINT', 'BIGINT', 'DOUBLE') ORDER BY 1"
    )
    return [str(name) for name in found["key"]]


def has_warm_up(corpus: Corpus) -> bool:
    """Whether the corpus has a small language model of its own."""
    from curation.language_models.answer_losses import WARM_UP_FOLDER

    return (corpus.path / WARM_UP_FOLDER / "config.json").is_file()


def _embed(corpus: Corpus, samples: int) -> None:
    st.caption("Vectors say which samples are alike. The selector k-center reads them to cover everything once.")
    form, command = st.columns([3, 2], gap="large")
    with form:
        kind = st.segmented_control(
            "Encoder",
            list(ENCODERS),
            format_func=lambda k: ENCODERS[k],
            default="lexical",
            required=True,
            key="embed_kind",
        )
        options, reason = _encoder(kind or "lexical")
        name = st.text_input(
            "Name", placeholder="chosen from the encoder", key="embed_name", help="What to call the embedding."
        )
    with command:
        argv = ["embed", str(corpus.path), *options, *(["--name", name.strip()] if name.strip() else [])]
        forms.command_box(corpus, argv, key="embed", label="Embed", disabled_reason=reason, rows=samples)
    _embeddings(corpus)


def _encoder(kind: str) -> tuple[list[str], str | None]:
    """The options of one kind of encoder, and why it can't run yet."""
    if kind == "file":
        path = st.text_input("Vectors file (.npy)", placeholder="/data/vectors.npy", key="embed_vectors").strip()
        by = st.text_input(
            "Metadata field that orders it",
            placeholder="index",
            key="embed_by",
            help="Row i of the file belongs to the sample whose field has the value i.",
        ).strip()
        return [
            "--vectors",
            path or "FILE.npy",
            "--by",
            by or "FIELD",
        ], None if path and by else "Name the file and the field."
    text = st.segmented_control(
        "Text", list(TEXTS), format_func=lambda t: TEXTS[t], default="both", required=True, key="embed_text"
    )
    options = [] if text in (None, "both") else ["--text", text]
    if kind == "lexical":
        st.caption(
            "Lexical is the default because it needs no download and reads any language: character n-grams, TF-IDF and "
            "SVD. It sees shared words, not meaning; a sentence-transformers model sees both and is the better choice."
        )
        return options, None
    model = st.text_input("Model", placeholder="BAAI/bge-m3, or a folder", key="embed_model").strip()
    return ["--model", f"sentence-transformers:{model or 'MODEL'}", *options], None if model else "Name the model."


def _embeddings(corpus: Corpus) -> None:
    from curation.vectors import embeddings

    stored = embeddings(corpus)
    if not stored:
        st.caption("No embedding is stored yet.")
        return
    st.dataframe(
        [
            {column: about.get(column) for column in ("name", "model", "text", "dimensions", "samples")}
            for about in stored
        ],
        hide_index=True,
        column_config={
            "name": "Embedding",
            "model": "Encoder",
            "text": "Text",
            "dimensions": "Dimensions",
            "samples": st.column_config.NumberColumn("Samples", format="localized"),
        },
        alt="Stored embeddings",
    )


def _warm_up(corpus: Corpus, samples: int) -> None:
    st.caption(
        "A small language model trained on this corpus in a minute or two, on the CPU. It is the default of the scorer "
        "ifd and a base model to try training with."
    )
    form, command = st.columns([3, 2], gap="large")
    with form:
        if has_warm_up(corpus):
            st.badge("Trained", icon=":material/check:", color="green")
        else:
            st.badge("Not trained yet", icon=":material/schedule:", color="gray")
        st.markdown(
            "It stands in for a real model so that everything runs here. **Better choices**, named in the form of the "
            "scorer as `model`:\n"
            "- the base model you will fine-tune, such as `hf:Qwen/Qwen3-0.6B`: what is hard for it is what counts\n"
            "- a small general model, such as `hf:openai-community/gpt2`: it ranks like large ones (Superfiltering)"
        )
        budget = st.number_input("Tokens to train on", 10_000, 20_000_000, 600_000, 100_000, key="warm_up_tokens")
        seed = st.number_input("Random seed", 0, value=0, key="warm_up_seed")
    with command:
        argv = ["warm-up", str(corpus.path)]
        argv += ["--set", f"token_budget={budget}"] if budget != 600_000 else []
        argv += ["--seed", str(seed)] if seed else []
        forms.command_box(corpus, argv, key="warm_up", label="Train the warm-up model", rows=samples)


def _where(where: str | None) -> list[str]:
    return ["--where", where] if where else []


def _scored(corpus: Corpus) -> None:
    runs = corpus.score_runs()
    if not runs:
        return
    st.subheader("Scored so far")
    st.dataframe(
        runs_table(corpus, runs),
        hide_index=True,
        height="content" if len(runs) <= 8 else 330,
        column_config={
            "scorer": "Scorer",
            "parameters": st.column_config.TextColumn("Parameters", width="medium"),
            "columns": st.column_config.ListColumn("Columns", width="medium"),
            "scored": st.column_config.NumberColumn("Scored", format="localized"),
            "unscored": st.column_config.NumberColumn("Not measured", format="localized"),
            "reasons": st.column_config.TextColumn("Why values are missing", width="large"),
        },
        alt="Scoring runs: parameters, columns, scored and unscored samples with reasons",
    )


def runs_table(corpus: Corpus, runs: list[ScoreRun]) -> pl.DataFrame:
    """One row per scoring run."""
    import polars as pl

    rows = [
        {
            "scorer": run.scorer,
            "parameters": parameters(run.operator) or "defaults",
            "columns": list(run.columns),
            "scored": run.scored,
            "unscored": run.unscored,
            "reasons": "; ".join(f"{reason} ({n:,})" for reason, n in corpus.unscored_reasons(run.run).items())
            or ("" if run.scored + run.unscored else "it ended before a sample was measured: the page Jobs says why"),
        }
        for run in runs
    ]
    return pl.DataFrame(rows)


def parameters(operator: str) -> str:
    """The parameters of an operator's JSON that are set, the model's among them."""
    set_to = json.loads(operator)["parameters"]
    return ", ".join(f"{name}={value}" for name, value in set_to.items() if value is not None)

"""The Score page: measure samples, place them by meaning, and read what came out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from curation import vectors
from curation.errors import ModelError, WinnowError
from curation.storage.sql import working
from studio import forms, running
from studio.door import access
from studio.languages import mark, t, told, told_text
from studio.pages import choosing, distribution, score_pair, tag_aliases, treemap, views

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus
    from curation.storage.stored import ScoreRun

VIEWS = {
    "measure": mark("Measure"),
    "distribution": mark("Distribution"),
    "pair": mark("Score against score"),
    "tags": mark("Sources and tags"),
}
TEXTS = {"both": mark("Instruction and response"), "instruction": mark("Instruction"), "response": mark("Response")}
QUICK = ("length", "heuristics", "near-duplicate")
"""Scorers that need neither a model nor a choice, in the order in which they are proposed."""
LOOKED_AT = 50
"""Samples of every source whose metadata is looked at for numbers."""
ENCODERS = {
    "lexical": mark("Lexical (default)"),
    "sentence-transformers": mark("Sentence-transformers model"),
    "file": mark("Vectors from a file"),
}


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title(t("Score"))
    st.caption(
        t("Choose what to measure and run it on every sample; then look at the numbers and set thresholds on them.")
    )
    samples = corpus.count()
    if not samples:
        forms.empty_state(
            t("Scores appear here"),
            t("Scorers measure samples, and there are none yet."),
            "ingest",
        )
        return
    where = forms.working_set(corpus)
    view = views.chosen("score", VIEWS, first="distribution" if "score" in st.query_params else "measure")
    if view == "measure":
        _measure(corpus, where, samples)
    elif view == "distribution":
        distribution.section(corpus, where)
    elif view == "pair":
        score_pair.section(corpus, where)
    else:
        treemap.sources_and_tags(corpus, where)
        tag_aliases.section(corpus)


def _measure(corpus: Corpus, where: str | None, samples: int) -> None:
    scorer, embedding, model = st.tabs([t("Scorers"), t("Embeddings"), t("Warm-up model")])
    with scorer:
        section(corpus, where)
    with embedding:
        _embed(corpus, samples)
    with model:
        _warm_up(corpus, samples)
    _scored(corpus)


def section(corpus: Corpus, where: str | None) -> None:
    """The form of a scorer, and its command."""
    from curation.scorers import SCORERS

    _propose(corpus)
    form, command = st.columns([3, 2], gap="large")
    with form:
        choices = {**choosing.offered(corpus), "field": metadata_fields(corpus), "target": []}
        scorer, options = forms.operator_form(SCORERS, key="scorer", choices=choices)
        reason = _waits_for(corpus, choosing.filled("scorer", scorer, options), options)
    with command:
        argv = ["score", str(corpus.path), scorer.name, *options, *_where(where)]
        rows = corpus.count(working(where))
        reason = reason or (None if rows else t("The working set is empty."))
        forms.command_box(corpus, argv, key="score", label=t("Score"), disabled_reason=reason, rows=rows)
        _go_on_measuring(corpus, where)


def _go_on_measuring(corpus: Corpus, where: str | None) -> None:
    """After the first scorer the other quick ones, with one press each."""
    run = {score_run.scorer for score_run in corpus.score_runs()}
    left = next((name for name in QUICK if name not in run), None)
    if not run or left is None or "score-job" not in st.session_state or running.live(corpus.path):
        return
    st.button(
        t("Measure {scorer} too", scorer=left), key="score_too", icon=":material/add:",
        disabled=not access.may_edit(), on_click=_measure_too, args=(corpus.path, left, where),
        help=access.refused() or t("It takes seconds and needs no model."),
    )  # fmt: skip


def _measure_too(folder: Path, scorer: str, where: str | None) -> None:
    st.session_state["scorer-operator"] = scorer
    running.start(folder, ["score", str(folder), scorer, *_where(where)], "score")


def _propose(corpus: Corpus) -> None:
    """Offer the first of the quick scorers that has not run, as long as nobody chose another."""
    run = {score_run.scorer for score_run in corpus.score_runs()}
    proposed = next((name for name in QUICK if name not in run), QUICK[0])
    state = st.session_state
    if state.get("scorer-operator") in (None, state.get("scorer_proposed")) and "score-job" not in state:
        state["scorer-operator"] = state["scorer_proposed"] = proposed


def _waits_for(corpus: Corpus, filled: choosing.Filled, options: list[str]) -> str | None:
    """Why the scorer can't run yet: something is not filled in, or there is no column, no embedding, no model."""
    reason = choosing.waits_for(corpus, filled)
    if reason is not None or filled.operator is None:
        return reason
    if filled.operator.needs_vectors and not vectors.embeddings(corpus):
        return t("It reads vectors: make an embedding on the tab Embeddings first.")
    if "target_source" in type(filled.operator).model_fields and not any(o.startswith("target") for o in options):
        return t("Name a target first: a file, a tag or a source.")
    try:
        filled.operator.in_corpus(corpus.path)
    except ModelError:
        st.info(
            t(
                "This scorer asks a language model. Train the small local one on the tab Warm-up model, or name one in "
                "the form."
            )
        )
        return t("No model yet: train the warm-up model, or name one.")
    except WinnowError as error:
        message, fix = told(error)
        return t("{message} Fix: {fix}", message=message, fix=fix)
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
    st.caption(t("Vectors say which samples are alike. The selector k-center reads them to cover everything once."))
    form, command = st.columns([3, 2], gap="large")
    with form:
        kind = st.segmented_control(
            t("Encoder"),
            list(ENCODERS),
            format_func=lambda k: t(ENCODERS[k]),
            default="lexical",
            required=True,
            key="embed_kind",
        )
        options, reason = _encoder(kind or "lexical")
        name = st.text_input(
            t("Name"),
            placeholder=t("chosen from the encoder"),
            key="embed_name",
            help=t("What to call the embedding."),
        )
    with command:
        argv = ["embed", str(corpus.path), *options, *(["--name", name.strip()] if name.strip() else [])]
        forms.command_box(corpus, argv, key="embed", label=t("Embed"), disabled_reason=reason, rows=samples)
    _embeddings(corpus)


def _encoder(kind: str) -> tuple[list[str], str | None]:
    """The options of one kind of encoder, and why it can't run yet."""
    if kind == "file":
        path = st.text_input(t("Vectors file (.npy)"), placeholder="/data/vectors.npy", key="embed_vectors").strip()
        by = st.text_input(
            t("Metadata field that orders it"),
            placeholder="index",
            key="embed_by",
            help=t("Row i of the file belongs to the sample whose field has the value i."),
        ).strip()
        return [
            "--vectors",
            path or "FILE.npy",
            "--by",
            by or "FIELD",
        ], None if path and by else t("Name the file and the field.")
    text = st.segmented_control(
        t("Text"), list(TEXTS), format_func=lambda name: t(TEXTS[name]), default="both", required=True, key="embed_text"
    )
    options = [] if text in (None, "both") else ["--text", text]
    if kind == "lexical":
        st.caption(
            t(
                "Lexical is the default because it needs no download and reads any language: character n-grams, TF-IDF "
                "and SVD. It sees shared words, not meaning; a sentence-transformers model sees both and is the better "
                "choice."
            )
        )
        return options, None
    model = st.text_input(t("Model"), placeholder=t("BAAI/bge-m3, or a folder"), key="embed_model").strip()
    return ["--model", f"sentence-transformers:{model or 'MODEL'}", *options], None if model else t("Name the model.")


def _embeddings(corpus: Corpus) -> None:
    from curation.vectors import embeddings

    stored = embeddings(corpus)
    if not stored:
        st.caption(t("No embedding is stored yet."))
        return
    st.dataframe(
        [
            {column: about.get(column) for column in ("name", "model", "text", "dimensions", "samples")}
            for about in stored
        ],
        hide_index=True,
        column_config={
            "name": t("Embedding"),
            "model": t("Encoder"),
            "text": t("Text"),
            "dimensions": st.column_config.NumberColumn(t("Dimensions"), format="localized"),
            "samples": st.column_config.NumberColumn(t("Samples"), format="localized"),
        },
        alt=t("Stored embeddings"),
    )


def _warm_up(corpus: Corpus, samples: int) -> None:
    st.caption(
        t(
            "A small language model trained on this corpus in a minute or two, on the CPU. It is the default of the "
            "scorer ifd and a base model to try training with."
        )
    )
    form, command = st.columns([3, 2], gap="large")
    with form:
        if has_warm_up(corpus):
            st.badge(t("Trained"), icon=":material/check:", color="green")
        else:
            st.badge(t("Not trained yet"), icon=":material/schedule:", color="gray")
        st.markdown(
            t(
                "It stands in for a real model so that everything runs here. **Better choices**, named in the form of "
                "the scorer as `model`:\n"
                "- the base model you will fine-tune, such as `hf:Qwen/Qwen3-0.6B`: what is hard for it is what "
                "counts\n"
                "- a small general model, such as `hf:openai-community/gpt2`: it ranks like large ones (Superfiltering)"
            )
        )
        budget = st.number_input(t("Tokens to train on"), 10_000, 20_000_000, 600_000, 100_000, key="warm_up_tokens")
        seed = st.number_input(t("Random seed"), 0, value=0, key="warm_up_seed")
    with command:
        argv = ["warm-up", str(corpus.path)]
        argv += ["--set", f"token_budget={budget}"] if budget != 600_000 else []
        argv += ["--seed", str(seed)] if seed else []
        forms.command_box(corpus, argv, key="warm_up", label=t("Train the warm-up model"), rows=samples)


def _where(where: str | None) -> list[str]:
    return ["--where", where] if where else []


def _scored(corpus: Corpus) -> None:
    runs = corpus.score_runs()
    if not runs:
        return
    st.subheader(t("Scored so far"))
    state = st.dataframe(
        runs_table(corpus, runs),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-cell",
        key=f"scored_{len(runs)}_{runs[0].run}",
        height="content" if len(runs) <= 8 else 330,
        column_config={
            "scorer": t("Scorer"),
            "parameters": st.column_config.TextColumn(t("Parameters"), width="medium"),
            "columns": st.column_config.ListColumn(t("Columns"), width="medium"),
            "scored": st.column_config.NumberColumn(t("Scored"), format="localized"),
            "unscored": st.column_config.NumberColumn(t("Not measured"), format="localized"),
            "reasons": st.column_config.TextColumn(t("Why values are missing"), width="large"),
        },
        alt=t("Scoring runs: parameters, columns, scored and unscored samples with reasons"),
    )
    st.caption(t("Click a row to see how its score is distributed."))
    row = forms.chosen_row(state, len(runs))
    if row is not None:
        _look_at(corpus, runs[row])


def _look_at(corpus: Corpus, run: ScoreRun) -> None:
    column = next((name for name in run.columns if name in distribution.numeric_scores(corpus)), None)
    if column is not None:
        st.query_params.from_dict({**st.query_params, "view": "distribution", "score": column})
        st.rerun()


def runs_table(corpus: Corpus, runs: list[ScoreRun]) -> pl.DataFrame:
    """One row per scoring run."""
    import polars as pl

    rows = [
        {
            "scorer": run.scorer,
            "parameters": parameters(run.operator) or t("defaults"),
            "columns": list(run.columns),
            "scored": run.scored,
            "unscored": run.unscored,
            "reasons": "; ".join(
                f"{told_text(reason)} ({n:,})" for reason, n in corpus.unscored_reasons(run.run).items()
            )
            or (
                "" if run.scored + run.unscored else t("it ended before a sample was measured: the page Jobs says why")
            ),
        }
        for run in runs
    ]
    return pl.DataFrame(rows)


def parameters(operator: str) -> str:
    """The parameters of an operator's JSON that are set, the model's among them."""
    set_to = json.loads(operator)["parameters"]
    return ", ".join(f"{name}={value}" for name, value in set_to.items() if value is not None)

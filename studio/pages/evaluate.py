"""The Evaluate page: whether a mix was worth more than random samples of as many tokens, in loss and in answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from studio import forms, jobs, plots, running
from studio.languages import mark, t, tn, told_text
from studio.pages import judged_answers
from studio.pages.run_colours import ACCENT, GREY, ORANGE, plain_key
from studio.pages.run_next import PROMPTS
from studio.pages.runs import run_folders

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus

MODELS = {"base": GREY, "random": ORANGE, "trained": ACCENT}
NAMES = {"base": mark("base"), "random": mark("random"), "trained": mark("trained")}
SHAPES = {"base": "circle", "random": "triangle-up", "trained": "diamond"}


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title(t("Evaluate"))
    st.caption(
        t(
            "See whether a mix was better than random: the base model, the trained one and one trained on random "
            "samples of as many tokens, by held-out loss and by what they write."
        )
    )
    finished, unfinished = _by_state(run_folders(corpus))
    if not finished:
        forms.empty_state(
            t("Judgements appear here"),
            t("A finished training run is judged here, and there is none yet: train a mix on the Train page."),
            "train",
        )
        return
    _evaluate(corpus, finished)
    _results(finished)
    if unfinished:
        names = ", ".join(folder.name for folder in unfinished)
        st.caption(forms.plain(t("Not finished, so not judged: {names}.", names=names)))


def _by_state(folders: list[Path]) -> tuple[list[Path], list[Path]]:
    from training.runs.run_folder import status

    finished = [folder for folder in folders if status(folder).state == "done"]
    return finished, [folder for folder in folders if folder not in finished]


def _evaluate(corpus: Corpus, finished: list[Path]) -> None:
    from training.evaluation import evaluation

    form, command = st.columns([3, 2], gap="large")
    with form:
        pending = [folder for folder in finished if evaluation(folder) is None]
        asked = [folder for folder in finished if folder.name == st.query_params.get("run")]
        chosen = st.multiselect(
            t("Runs"),
            finished,
            default=asked or [folder for folder in pending if not of_search(folder)] or finished[:1],
            format_func=lambda p: p.name,
            # What was judged stays chosen: its box says that it is done, and where to go from there.
            key=f"evaluate_{len(finished)}_{asked[0].name if asked else ''}",
            placeholder=t("Choose runs"),
        )
        baseline = st.toggle(
            t("Also train on random samples of as many tokens"),
            value=True,
            key="evaluate_baseline",
            help=t("Takes as long as the run itself, once. Without it nobody knows whether selecting earned anything."),
        )
        options = _answer_options()
    with command:
        argv = ["evaluate", *(str(folder) for folder in chosen), *([] if baseline else ["--no-baseline"]), *options]
        reason = None if chosen else t("Choose at least one run.")
        forms.command_box(corpus, argv, key="evaluate", label=t("Evaluate"), disabled_reason=reason)
        _others(corpus, argv)


def _others(corpus: Corpus, argv: list[str]) -> None:
    """Evaluations that run with other words than the form has now, so that none is lost from view."""
    for job in running.live(corpus.path):
        if job.argv[0] == "evaluate" and job.argv != argv and job.id != st.session_state.get("evaluate-job"):
            st.caption(forms.plain(t("Runs already: {command}", command=jobs.command_line(job.argv))))
            forms.follow(corpus.path, job, key=f"evaluate-{job.id}")


def of_search(folder: Path) -> bool:
    """Whether a search for a mix made this run: there are dozens, and each would get a random arm."""
    from studio.commands.mix_searching import FOLDER
    from training.runs.run_folder import RunFolder

    return FOLDER in Path(RunFolder(folder).read("data.json").get("mix", "")).parts[-4:-1]


def _answer_options() -> list[str]:
    """What the models are to write, and who compares it, as words of the command."""
    count, longest = st.columns(2)
    answers = count.number_input(
        t("Prompts to answer"),
        min_value=0,
        value=PROMPTS,
        step=20,
        key="evaluate_answers",
        help=t("Held-out prompts, the same for every run; 0 measures losses only. 100 give a win rate to ±10 points."),
    )
    tokens = longest.number_input(t("Longest answer (tokens)"), min_value=8, value=256, step=64, key="evaluate_tokens")
    judge = st.text_input(
        t("Judge (chat model)"),
        key="evaluate_judge",
        placeholder=t("such as openai:MODEL; empty: none"),
        help=t(
            "A chat model: openai:MODEL, vllm:PATH or http://127.0.0.1:8000/v1#MODEL. It sees each pair of answers in "
            "both orders. Its calls are kept: judging again costs nothing."
        ),
        disabled=not answers,
    )
    prompts = st.text_input(
        t("Own prompts (JSONL file)"),
        key="evaluate_prompts",
        placeholder=t("empty takes held-out rows"),
        disabled=not answers,
    )
    if not answers:
        return []
    return [
        *("--answers", str(answers)),
        *(("--most-tokens", str(tokens)) if tokens != 256 else ()),
        *(("--judge", judge.strip()) if judge.strip() else ()),
        *(("--prompts", prompts.strip()) if prompts.strip() else ()),
    ]


def _results(finished: list[Path]) -> None:
    from training.evaluation import evaluation

    st.subheader(t("Results"))
    folders = {folder.name: folder for folder in finished}
    judged = {folder.name: found for folder in finished if (found := evaluation(folder)) is not None}
    if not judged:
        st.caption(t("No run is judged yet. The table by source and the verdict appear here."))
        return
    names = list(judged)
    asked = st.query_params.get("run")
    first = [asked, *(name for name in names if name != asked)] if asked in names else names
    shown = st.multiselect(
        t("Show"), names, default=first[:3], key=f"judged_{len(names)}_{first[0]}", placeholder=t("Choose runs")
    )
    if len(shown) > 1:
        _overview({name: judged[name] for name in shown})
    for name in shown:
        _judged(folders[name], judged[name])
    if shown:
        st.caption(
            t(
                "Held-out loss favours whatever resembles the held-out samples, and random samples do by construction: "
                "judge a mix that was chosen for something else by a benchmark or a reader as well."
            )
        )


def _overview(judged: dict[str, dict[str, Any]]) -> None:
    import polars as pl

    rows = [
        {"source": name, **_losses(found["overall"]), "verdict": told_text(found["verdict"])}
        for name, found in judged.items()
        if found["overall"]
    ]
    if rows:
        st.dataframe(
            pl.DataFrame(rows, infer_schema_length=None),
            hide_index=True,
            height="content",
            column_config=_columns(t("Training run")),
            alt=t("All shown runs over all sources"),
        )


def _judged(folder: Path, found: dict[str, Any]) -> None:
    name = folder.name
    with st.container(border=True):
        base = forms.plain(Path(found["base_model"]).name)
        st.markdown(
            t("**{run}** · {method} on {base}", run=forms.plain(name), method=found["method"].upper(), base=base)
        )
        _verdict(found)
        if found["overall"] is not None:
            _losses_by_group(name, found)
        if found["preference"]:
            st.caption(preference_sentence(found["preference"], arm=bool(found["random_run"])))
        if found.get("answers"):
            judged_answers.section(folder, found["answers"])
        elif found.get("answers_reason"):
            st.caption(forms.plain(t("No answers: {reason}.", reason=told_text(found["answers_reason"]))))
        if found.get("lm_eval"):
            _lm_eval(found["lm_eval"])
        with st.container(horizontal=True):
            forms.link("chat", t("Ask the model yourself"), icon=":material/forum:", query={"run": name})
            forms.link("compare_runs", t("Compare runs"), icon=":material/compare_arrows:", query={"run": name})


def _losses_by_group(name: str, found: dict[str, Any]) -> None:
    kinds = {"source": found["rows"], **found.get("groups", {})}
    kind = "source"
    if len(kinds) > 1:
        kind = st.segmented_control(
            t("Held-out loss by"),
            list(kinds),
            default="source",
            required=True,
            format_func=lambda k: t("source") if k == "source" else forms.plain(k),
            key=f"kind_{name}",
            help=t("Sources, tags, and bands of a score: thirds of the held-out rows by its value."),
        )
    rows = [found["overall"], *kinds[kind]]
    # Names of tags and bands are long: their table takes the whole width.
    table, chart = st.columns([2, 1]) if kind == "source" else (st.container(), st.container())
    with table:
        st.dataframe(
            result_table(rows),
            hide_index=True,
            height="content",
            column_config=_columns(t("Source") if kind == "source" else kind, 104 if kind == "source" else 168),
            placeholder="–",
            alt=t("Held-out losses of {run} by {kind}", run=name, kind=t("source") if kind == "source" else kind),
        )
        st.caption(forms.plain(_small_print(found)))
    with chart:
        plots.draw(
            dots(rows),
            lambda: loss_points(rows),
            name=f"held-out-loss-by-{kind}-{name}",
            alt=t("Held-out loss of base, random and trained model of {run}", run=name),
            key=f"dots_{plain_key(kind + name)}",
        )


def _lm_eval(found: dict[str, Any]) -> None:
    with st.expander(t("lm-eval"), icon=":material/fact_check:"):
        rows = t("{rows:,} held-out rows as tasks in {folder}.", rows=found["rows"], folder=found["folder"])
        st.caption(forms.plain(rows))
        if found["command"]:
            st.code(found["command"], language=None, wrap_lines=True)
        if found["results"]:
            st.dataframe(
                [{t("Task"): task, **values} for task, values in found["results"].items()],
                hide_index=True,
                alt=t("Results of lm-eval"),
            )
        else:
            st.caption(forms.plain(t("No results: {reason}", reason=told_text(str(found["reason"])))))


def _verdict(found: dict[str, Any]) -> None:
    verdict = found["verdict"]
    shown = told_text(verdict)
    said = forms.plain(t("{sentence}.", sentence=shown[:1].upper() + shown[1:]))
    if verdict.startswith("better"):
        st.success(said, icon=":material/check_circle:")
    elif verdict.startswith("worse"):
        st.error(said, icon=":material/cancel:")
    else:
        st.info(said, icon=":material/help:")
    if found["reason"] and found["reason"] not in verdict:
        st.caption(forms.plain(t("Why a number is missing: {reason}.", reason=told_text(found["reason"]))))


def _losses(row: dict[str, Any]) -> dict[str, Any]:
    found = row["difference"] or {}
    low, high = found.get("low"), found.get("high")
    few = t("too few examples") if found else None
    return {
        "examples": row["examples"],
        "base": row["base"],
        "trained": row["trained"],
        "random": row["random"],
        "difference": found.get("mean"),
        "interval": few if low is None or high is None else t("{low:+.4f} to {high:+.4f}", low=low, high=high),
    }


def result_table(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """One row per source, all sources together first."""
    import polars as pl

    schema = {
        "source": pl.String,
        "examples": pl.Int64,
        **dict.fromkeys(("base", "trained", "random", "difference"), pl.Float64),
    }
    table = [{"source": told_text(row["source"] or "all sources"), **_losses(row)} for row in rows]
    return pl.DataFrame(table, schema={**schema, "interval": pl.String})


def _columns(first: str, width: int = 104) -> dict[str, Any]:
    number = st.column_config.NumberColumn
    return {
        "source": st.column_config.TextColumn(first, width=width),
        "examples": number(t("Examples"), format="localized", width=66),
        "base": number(t("Base"), format="%.4f", width=58),
        "trained": number(t("Trained"), format="%.4f", width=58),
        "random": number(t("Random"), format="%.4f", width=58, help=t("Trained on random samples of as many tokens.")),
        "difference": number(
            t("Difference"), format="%+.4f", width=72, help=t("Trained minus random; negative is better.")
        ),
        "interval": st.column_config.TextColumn(
            t("95 % interval"), width=126, help=t("Empty with fewer than 10 examples.")
        ),
        "verdict": st.column_config.TextColumn(t("Verdict"), width="large"),
    }


def _small_print(found: dict[str, Any]) -> str:
    parts = [t("Losses in nats per answer token; trained on {tokens:,} tokens", tokens=found["tokens"])]
    if found["random_tokens"] is not None:
        parts.append(t("random on {tokens:,}", tokens=found["random_tokens"]))
    if found["truncated"]:
        parts.append(tn("{n} held-out row was cut", "{n:,} held-out rows were cut", found["truncated"]))
    if found.get("perplexity"):
        named = ", ".join(f"{t(NAMES.get(name, name))} {value:,.4g}" for name, value in found["perplexity"].items())
        parts.append(t("perplexity of answers: {numbers}", numbers=named))
    parts += [
        tn("{n} held-out row left out: {reason}", "{n:,} held-out rows left out: {reason}", n, reason=told_text(why))
        for why, n in found["dropped"].items()
    ]
    return t("{sentence}.", sentence=t("; ").join(parts))


def loss_points(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """source, model, loss of every number that was measured."""
    import polars as pl

    points = [
        {"source": told_text(row["source"] or "all sources"), "model": t(NAMES[model]), "loss": row[model]}
        for row in rows
        for model in MODELS
        if row[model] is not None
    ]
    return pl.DataFrame(points, schema={"source": pl.String, "model": pl.String, "loss": pl.Float64})


def dots(rows: list[dict[str, Any]]) -> Any:
    """One line per source with a dot for each model; shape and colour both tell which."""
    import altair as alt

    points = loss_points(rows)
    order = [told_text(row["source"] or "all sources") for row in rows]
    models = [model for model in MODELS if any(row[model] is not None for row in rows)]
    names = [t(NAMES[model]) for model in models]
    colour = alt.Scale(domain=names, range=[MODELS[model] for model in models])
    shape = alt.Scale(domain=names, range=[SHAPES[model] for model in models])
    legend = alt.Legend(orient="top")
    return (
        alt.Chart(points)
        .mark_point(filled=True, size=90, opacity=0.9)
        .encode(
            x=alt.X("loss:Q", title=t("held-out loss (nats per token)"), scale=alt.Scale(zero=False)),
            y=alt.Y("source:N", sort=order, title=None, axis=alt.Axis(labelLimit=160, grid=True)),
            color=alt.Color("model:N", title=None, scale=colour, legend=legend),
            shape=alt.Shape("model:N", title=None, scale=shape, legend=legend),
            tooltip=[
                alt.Tooltip("source:N", title=t("source")),
                alt.Tooltip("model:N", title=t("model")),
                alt.Tooltip("loss:Q", title=t("loss"), format=".4f"),
            ],
        )
        .properties(height=80 + 30 * len(rows))
    )


def preference_sentence(found: dict[str, Any], *, arm: bool) -> str:
    """How often the models prefer what was chosen; `arm` says whether there is a random one."""

    def shown(name: str) -> str:
        share, interval = found[name], found[f"{name}_interval"]
        if share is None or interval is None:
            known = name == "trained" or arm
            return t("not known, it is still as the base") if known else t("no such arm")
        return t("{share:.0%} ({low:.0%} to {high:.0%})", share=share, low=interval[0], high=interval[1])

    return t(
        "Prefers chosen to rejected more than the base does, on {pairs:,} pairs: trained {trained}, random {random}.",
        pairs=found["pairs"],
        trained=shown("trained"),
        random=shown("random"),
    )

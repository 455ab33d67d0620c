"""The Evaluate page: whether a mix was worth more than random samples of as many tokens, in loss and in answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from studio import forms
from studio.pages import judged_answers
from studio.pages.runs import run_folders

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus

ALL = "all sources"
MODELS = {"base": "#A1A1AA", "random": "#E0712B", "trained": "#4F46E5"}
SHAPES = {"base": "circle", "random": "triangle-up", "trained": "diamond"}


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title("Evaluate")
    st.caption(
        "See whether a mix was better than random: the base model, the trained one and one trained on random samples "
        "of as many tokens, by held-out loss and by what they write."
    )
    finished, unfinished = _by_state(run_folders(corpus))
    if not finished:
        forms.empty_state(
            "Comparisons appear here",
            "A finished training run is judged here, and there is none yet: train a mix on the Train page.",
            "train",
        )
        return
    _evaluate(corpus, finished)
    _results(finished)
    if unfinished:
        st.caption(f"Not finished, so not judged: {', '.join(p.name for p in unfinished)}.")


def _by_state(folders: list[Path]) -> tuple[list[Path], list[Path]]:
    from training.runs.run_folder import status

    finished = [folder for folder in folders if status(folder).state == "done"]
    return finished, [folder for folder in folders if folder not in finished]


def _evaluate(corpus: Corpus, finished: list[Path]) -> None:
    from training.evaluation import evaluation

    form, command = st.columns([3, 2], gap="large")
    with form:
        pending = [folder for folder in finished if evaluation(folder) is None]
        chosen = st.multiselect(
            "Runs",
            finished,
            default=[folder for folder in pending if not of_search(folder)] or finished[:1],
            format_func=lambda p: p.name,
            key=f"evaluate_{len(finished)}_{len(pending)}",
        )
        baseline = st.toggle(
            "Also train on random samples of as many tokens",
            value=True,
            key="evaluate_baseline",
            help="Takes as long as the run itself, once. Without it nobody knows whether selecting earned anything.",
        )
        options = _answer_options()
    with command:
        argv = ["evaluate", *(str(folder) for folder in chosen), *([] if baseline else ["--no-baseline"]), *options]
        reason = None if chosen else "Choose at least one run."
        forms.command_box(corpus, argv, key="evaluate", label="Evaluate", disabled_reason=reason)


def of_search(folder: Path) -> bool:
    """Whether a search for a mix made this run: there are dozens, and each would get a random arm."""
    from studio.mix_searching import FOLDER
    from training.runs.run_folder import RunFolder

    return FOLDER in Path(RunFolder(folder).read("data.json").get("mix", "")).parts[-4:-1]


def _answer_options() -> list[str]:
    """What the models are to write, and who compares it, as words of the command."""
    count, longest = st.columns(2)
    answers = count.number_input(
        "Prompts to answer",
        min_value=0,
        value=40,
        step=20,
        key="evaluate_answers",
        help="Held-out prompts, the same for every run; 0 measures losses only. 100 give a win rate to ±10 points.",
    )
    tokens = longest.number_input("Longest answer (tokens)", min_value=8, value=256, step=64, key="evaluate_tokens")
    judge = st.text_input(
        "Judge (chat model)",
        key="evaluate_judge",
        placeholder="openai:MODEL, vllm:PATH or http://127.0.0.1:8000/v1#MODEL; empty compares no answers",
        help="Sees each pair of answers in both orders. Its calls are kept: judging again costs nothing.",
        disabled=not answers,
    )
    prompts = st.text_input(
        "Own prompts (JSONL file)",
        key="evaluate_prompts",
        placeholder="empty takes held-out rows",
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

    st.subheader("Results")
    folders = {folder.name: folder for folder in finished}
    judged = {folder.name: found for folder in finished if (found := evaluation(folder)) is not None}
    if not judged:
        st.caption("No run is judged yet. The table by source and the verdict appear here.")
        return
    names = list(judged)
    shown = st.multiselect("Show", names, default=names[:3], key=f"judged_{len(names)}_{names[0]}")
    if len(shown) > 1:
        _overview({name: judged[name] for name in shown})
    for name in shown:
        _judged(folders[name], judged[name])
    if shown:
        st.caption(
            "Held-out loss favours whatever resembles the held-out samples, and random samples do by construction: "
            "judge a mix that was chosen for something else by a benchmark or a reader as well."
        )


def _overview(judged: dict[str, dict[str, Any]]) -> None:
    import polars as pl

    rows = [
        {"source": name, **_losses(found["overall"]), "verdict": found["verdict"]}
        for name, found in judged.items()
        if found["overall"]
    ]
    if rows:
        st.dataframe(
            pl.DataFrame(rows), hide_index=True, column_config=_columns("Run"), alt="All shown runs over all sources"
        )


def _judged(folder: Path, found: dict[str, Any]) -> None:
    name = folder.name
    with st.container(border=True):
        st.markdown(f"**{forms.plain(name)}** · {found['method']} on {forms.plain(Path(found['base_model']).name)}")
        _verdict(found)
        if found["overall"] is not None:
            _losses_by_group(name, found)
        if found["preference"]:
            st.caption(preference_sentence(found["preference"], arm=bool(found["random_run"])))
        if found.get("answers"):
            judged_answers.section(folder, found["answers"])
        elif found.get("answers_reason"):
            st.caption(forms.plain(f"No answers: {found['answers_reason']}."))
        if found.get("lm_eval"):
            _lm_eval(found["lm_eval"])
        forms.link("chat", "Ask the model yourself", icon=":material/forum:", query={"run": name})


def _losses_by_group(name: str, found: dict[str, Any]) -> None:
    kinds = {"source": found["rows"], **found.get("groups", {})}
    kind = "source"
    if len(kinds) > 1:
        kind = st.segmented_control(
            "Held-out loss by",
            list(kinds),
            default="source",
            required=True,
            format_func=forms.plain,
            key=f"kind_{name}",
            help="Sources, tags, and bands of a score: thirds of the held-out rows by its value.",
        )
    rows = [found["overall"], *kinds[kind]]
    # Names of tags and bands are long: their table takes the whole width.
    table, chart = st.columns([2, 1]) if kind == "source" else (st.container(), st.container())
    with table:
        st.dataframe(
            result_table(rows),
            hide_index=True,
            height="content",
            column_config=_columns("Source" if kind == "source" else kind, 104 if kind == "source" else 168),
            placeholder="–",
            alt=f"Held-out losses of {name} by {kind}",
        )
        st.caption(forms.plain(_small_print(found)))
    with chart:
        st.altair_chart(dots(rows), alt=f"Held-out loss of base, random and trained model by {kind}, for {name}")


def _lm_eval(found: dict[str, Any]) -> None:
    with st.expander("lm-eval", icon=":material/fact_check:"):
        st.caption(forms.plain(f"{found['rows']:,} held-out rows as tasks in {found['folder']}."))
        if found["command"]:
            st.code(found["command"], language="bash", wrap_lines=True)
        if found["results"]:
            st.dataframe([{"task": task, **values} for task, values in found["results"].items()], hide_index=True)
        else:
            st.caption(forms.plain(f"No results: {found['reason']}"))


def _verdict(found: dict[str, Any]) -> None:
    verdict = found["verdict"]
    said = forms.plain(verdict[:1].upper() + verdict[1:] + ".")
    if verdict.startswith("better"):
        st.success(said, icon=":material/check_circle:")
    elif verdict.startswith("worse"):
        st.error(said, icon=":material/cancel:")
    else:
        st.info(said, icon=":material/help:")
    if found["reason"] and found["reason"] not in verdict:
        st.caption(forms.plain(f"Why a number is missing: {found['reason']}."))


def _losses(row: dict[str, Any]) -> dict[str, Any]:
    found = row["difference"] or {}
    low, high = found.get("low"), found.get("high")
    few = "too few examples" if found else None
    return {
        "examples": row["examples"],
        "base": row["base"],
        "trained": row["trained"],
        "random": row["random"],
        "difference": found.get("mean"),
        "interval": f"{low:+.4f} to {high:+.4f}" if low is not None and high is not None else few,
    }


def result_table(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """One row per source, all sources together first."""
    import polars as pl

    schema = {
        "source": pl.String,
        "examples": pl.Int64,
        **dict.fromkeys(("base", "trained", "random", "difference"), pl.Float64),
    }
    table = [{"source": row["source"] or ALL, **_losses(row)} for row in rows]
    return pl.DataFrame(table, schema={**schema, "interval": pl.String})


def _columns(first: str, width: int = 104) -> dict[str, Any]:
    number = st.column_config.NumberColumn
    return {
        "source": st.column_config.TextColumn(first, width=width),
        "examples": number("Examples", format="localized", width=66),
        "base": number("Base", format="%.4f", width=58),
        "trained": number("Trained", format="%.4f", width=58),
        "random": number("Random", format="%.4f", width=58, help="Trained on random samples of as many tokens."),
        "difference": number("Difference", format="%+.4f", width=72, help="Trained minus random; negative is better."),
        "interval": st.column_config.TextColumn("95 % interval", width=126, help="Empty with fewer than 10 examples."),
        "verdict": st.column_config.TextColumn("Verdict", width="large"),
    }


def _small_print(found: dict[str, Any]) -> str:
    parts = [f"Losses in nats per answer token; trained on {found['tokens']:,} tokens"]
    if found["random_tokens"] is not None:
        parts.append(f"random on {found['random_tokens']:,}")
    if found["truncated"]:
        parts.append(f"{found['truncated']:,} held-out rows were cut")
    if found.get("perplexity"):
        perplexities = ", ".join(f"{name} {value:,.4g}" for name, value in found["perplexity"].items())
        parts.append(f"perplexity of answers: {perplexities}")
    parts += [f"{n:,} held-out rows left out: {reason}" for reason, n in found["dropped"].items()]
    return "; ".join(parts) + "."


def dots(rows: list[dict[str, Any]]) -> Any:
    """One line per source with a dot for each model; shape and colour both tell which."""
    import altair as alt
    import polars as pl

    points = [
        {"source": row["source"] or ALL, "model": model, "loss": row[model]}
        for row in rows
        for model in MODELS
        if row[model] is not None
    ]
    order = [row["source"] or ALL for row in rows]
    names = [model for model in MODELS if any(p["model"] == model for p in points)]
    colour = alt.Scale(domain=names, range=[MODELS[n] for n in names])
    shape = alt.Scale(domain=names, range=[SHAPES[n] for n in names])
    legend = alt.Legend(orient="top")
    return (
        alt.Chart(pl.DataFrame(points))
        .mark_point(filled=True, size=90, opacity=0.9)
        .encode(
            x=alt.X("loss:Q", title="held-out loss (nats per token)", scale=alt.Scale(zero=False)),
            y=alt.Y("source:N", sort=order, title=None, axis=alt.Axis(labelLimit=160, grid=True)),
            color=alt.Color("model:N", title=None, scale=colour, legend=legend),
            shape=alt.Shape("model:N", title=None, scale=shape, legend=legend),
            tooltip=["source:N", "model:N", alt.Tooltip("loss:Q", format=".4f")],
        )
        .properties(height=80 + 30 * len(rows))
    )


def preference_sentence(found: dict[str, Any], *, arm: bool) -> str:
    """How often the models prefer what was chosen; `arm` says whether there is a random one."""

    def shown(name: str) -> str:
        share, interval = found[name], found[f"{name}_interval"]
        if share is None or interval is None:
            return "not known, it is still as the base" if name == "trained" or arm else "no such arm"
        return f"{share:.0%} ({interval[0]:.0%} to {interval[1]:.0%})"

    return (
        f"Prefers chosen to rejected more than the base does, on {found['pairs']:,} pairs: trained "
        f"{shown('trained')}, random {shown('random')}."
    )

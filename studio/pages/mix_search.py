"""Searches for a mix: small runs over sizes or source weights, what they show, and which to make next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from studio import forms, plots
from studio.commands.mix_searching import FOLDER, findings, trial_row
from studio.languages import mark, t, tn, told_text
from studio.pages.run_colours import ACCENT, GREY, channels
from studio.pages.score import has_warm_up
from studio.pages.train import mix_folders
from training.mix_search.design import in_words

if TYPE_CHECKING:
    from curation.corpus import Corpus

OVER = {
    "sizes": mark("Sizes: what would more data bring?"),
    "weights": mark("Weights: which sources should there be more of?"),
}


def section(corpus: Corpus) -> None:
    """The part of the page that searches."""
    mixes = mix_folders(corpus)
    if not mixes:
        forms.empty_state(
            t("Searches appear here"),
            t(
                "A search trains small runs on parts of an exported mix, and there is none yet: make one on the Mix "
                "page."
            ),
            "mix",
        )
        return
    _search(corpus, mixes)
    _found(corpus)


def _search(corpus: Corpus, mixes: list[Path]) -> None:
    form, command = st.columns([3, 2], gap="large")
    with form:
        over = st.segmented_control(
            t("Search over"),
            list(OVER),
            format_func=lambda o: t(OVER[o]),
            default="sizes",
            required=True,
            key="search_over",
        )
        mix_cell, base_cell = st.columns(2)
        mix = mix_cell.selectbox(t("Mix"), mixes, format_func=lambda p: p.name, key=f"search_mix_{len(mixes)}")
        base = base_cell.text_input(
            t("Base model"),
            placeholder=t("the corpus' warm-up model"),
            key="search_base",
            help=t("A folder, or a name on the hub."),
        ).strip()
        runs_cell, repeats_cell, extent_cell = st.columns(3)
        fewest, usual = (4, 5) if over == "sizes" else _mixes(mix)
        runs = runs_cell.number_input(t("Runs"), fewest, 256, usual, key=f"search_runs_{over}_{usual}")
        repeats = repeats_cell.number_input(
            t("Repeats"), 1, 8, 2, key="search_repeats", help=t("Other draws and seeds: they tell noise from effect.")
        )
        if over == "sizes":
            extent = extent_cell.number_input(
                t("Smallest, of the mix"), 0.01, 0.9, 0.0625, format="%.4f", key="search_smallest"
            )
        else:
            extent = extent_cell.number_input(t("Text of a run, of the mix"), 0.05, 1.0, 0.5, key="search_share")
        name = st.text_input(
            t("Name of the search"), value=f"{mix.name}-{over}", key=f"search_name_{mix.name}_{over}"
        ).strip()
    option = "--smallest" if over == "sizes" else "--share"
    words = ["mix-search", str(mix), "--name", name or f"{mix.name}-{over}", "--over", str(over), "--runs", str(runs)]
    words += ["--repeats", str(repeats), option, f"{extent:g}", *(["--base-model", base] if base else [])]
    with command:
        missing = None
        if not base and not has_warm_up(corpus):
            missing = t("Name a base model, or make the warm-up model on the Train page.")
        forms.command_box(corpus, words, key="search", label=t("Search"), disabled_reason=missing)
        told = t("{n:,} runs, one after another; those that are done are not made again.", n=int(runs) * int(repeats))
        st.caption(told)


def searches(corpus: Corpus) -> list[Path]:
    """Folders of the searches that have a report, the latest first."""
    reports = (corpus.path / FOLDER).glob("*/report.json")
    return [p.parent for p in sorted(reports, key=lambda p: -p.stat().st_mtime)]


def _found(corpus: Corpus) -> None:
    from training.mix_search.searching import found

    st.subheader(t("Results"))
    folders = searches(corpus)
    if not folders:
        st.caption(t("No search has ended yet. The runs, the law they follow and the best mix appear here."))
        return
    folder = st.selectbox(
        t("Search"), folders, format_func=lambda p: p.name, key=f"searched_{len(folders)}_{folders[0].name}", width=360
    )
    told = found(folder)
    if told is None:
        return
    _findings(told)
    left, right = st.columns([3, 2], gap="large")
    with left:
        if told["law"]:
            _law_chart(told)
        elif told["weights"] and told["weights"]["best"]:
            _weights_chart(told)
        else:
            _losses_chart(told)
    with right:
        _next(told)
        if told["weights"]:
            _effects(told["weights"])
    _trials(told)
    _export(corpus, told)
    for note in told["notes"]:
        st.caption(forms.plain(t("{sentence}.", sentence=told_text(note))))


def _findings(told: dict[str, Any]) -> None:
    lines = [told_text(line) for line in findings(told)]
    refused = bool(told["law"] and told["law"]["reason"]) or bool(told["weights"] and told["weights"]["reason"])
    if refused:
        first, *rest = (t("{sentence}.", sentence=line[:1].upper() + line[1:]) for line in lines)
        st.info(forms.plain(first), icon=":material/help:")
        for line in rest:
            st.caption(forms.plain(line))
        return
    for line in lines:
        st.markdown(forms.plain(line))


def _law_chart(told: dict[str, Any]) -> None:
    import altair as alt
    import polars as pl

    st.markdown(f"**{t('Held-out loss against tokens')}**")
    points = pl.DataFrame(
        [
            {"tokens": trial["tokens"], "loss": trial["loss"], "run": trial["name"], "rows": trial["rows"]}
            for trial in told["trials"]
        ]
    )
    x = alt.X(
        "tokens:Q",
        title=t("tokens (one pass)"),
        scale=alt.Scale(type="log", nice=False, padding=14),
        axis=alt.Axis(format="~s"),
    )
    scale, title = alt.Scale(zero=False), t("nats per token")
    y = alt.Y("loss:Q", title=title, scale=scale, axis=alt.Axis(format=".3~f"))
    tooltip = [
        alt.Tooltip("run:N", title=t("run")),
        alt.Tooltip("tokens:Q", title=t("tokens"), format=","),
        alt.Tooltip("rows:Q", title=t("rows"), format=","),
        alt.Tooltip("loss:Q", title=t("loss"), format=".4f"),
    ]
    dots = alt.Chart(points).mark_point(filled=True, size=80, opacity=1, color=ACCENT)
    layers: list[Any] = [dots.encode(x=x, y=y, tooltip=tooltip)]
    if told["law"]["band"]:
        band = pl.DataFrame(
            [
                {"tokens": p["n"], "loss": p["loss"], "low": p["interval"][0], "high": p["interval"][1]}
                for p in told["law"]["band"]
            ]
        )
        low = alt.Y("low:Q", title=title, scale=scale)
        area = alt.Chart(band).mark_area(opacity=0.18, color=ACCENT).encode(x=x, y=low, y2="high:Q")
        line = alt.Chart(band).mark_line(color=ACCENT).encode(x=x, y=y)
        largest = pl.DataFrame({"tokens": [max(trial["tokens"] for trial in told["trials"])]})
        edge = alt.Chart(largest).mark_rule(color=GREY, strokeDash=[3, 3]).encode(x=x)
        layers = [area, line, edge, *layers]
    plots.draw(
        alt.layer(*layers).properties(height=340),
        points,
        name=f"law-{told['name']}",
        alt=t("Runs by size, the fitted law and its 95 % band"),
        key="search_law",
    )
    if told["law"]["band"]:
        st.caption(t("The band holds the law with 95 %; what lies right of the dashed line was not run."))


def _weights_chart(told: dict[str, Any]) -> None:
    import altair as alt
    import polars as pl

    fitted = told["weights"]
    mixes = {t("mix as it is"): fitted["natural"], t("predicted best"): fitted["best"]}
    rows = [
        {"mix": name, "source": source, "share": share}
        for name, predicted in mixes.items()
        for source, share in predicted["weights"].items()
    ]
    frame = pl.DataFrame(rows)
    st.markdown(f"**{t('Weights of the sources')}**")
    told_apart = channels("source", [row["source"] for row in rows], columns=3, limit=200)["color"]
    # Bars are filled: the stroke that stands for a line in a legend would not be seen.
    colour = alt.Color.from_dict({**told_apart, "legend": {**told_apart["legend"], "symbolType": "square"}})
    chart = (
        alt.Chart(frame)
        .mark_bar()
        .encode(
            x=alt.X("share:Q", title=t("share of the text"), axis=alt.Axis(format="%")),
            y=alt.Y("mix:N", title=None, sort=list(mixes), axis=alt.Axis(labelLimit=140)),
            yOffset=alt.YOffset("source:N"),
            color=colour,
            tooltip=[
                alt.Tooltip("mix:N", title=t("mix")),
                alt.Tooltip("source:N", title=t("source")),
                alt.Tooltip("share:Q", title=t("share"), format=".1%"),
            ],
        )
        .properties(height=110 + 44 * len(fitted["best"]["weights"]))
    )
    told_alt = t("Weights of each source in the mix as it is and in the predicted best")
    plots.draw(chart, frame, name=f"weights-{told['name']}", alt=told_alt, key="search_weights")
    _losses_chart(told)


def _losses_chart(told: dict[str, Any]) -> None:
    """What each run over weights reached, the lowest first."""
    import altair as alt
    import polars as pl

    st.markdown(f"**{t('What each run reached')}**")
    rows = [
        {"weights": in_words(trial["weights"] or {}), "loss": trial["loss"]}
        for trial in sorted(told["trials"], key=lambda trial: trial["loss"])
    ]
    frame = pl.DataFrame(rows)
    order = list(dict.fromkeys(row["weights"] for row in rows))
    chart = (
        alt.Chart(frame)
        .mark_point(filled=True, size=80, opacity=0.9, color=ACCENT)
        .encode(
            x=alt.X("loss:Q", title=t("held-out loss (nats per token)"), scale=alt.Scale(zero=False)),
            y=alt.Y("weights:N", sort=order, title=None, axis=alt.Axis(labelLimit=380)),
            tooltip=[
                alt.Tooltip("weights:N", title=t("weights")),
                alt.Tooltip("loss:Q", title=t("loss"), format=".4f"),
            ],
        )
        .properties(height=60 + 24 * len(order))
    )
    told_alt = t("Held-out loss of every run over weights, the lowest first")
    plots.draw(chart, frame, name=f"losses-{told['name']}", alt=told_alt, key="search_losses")


def _next(told: dict[str, Any]) -> None:
    st.markdown(f"**{t('Runs that would tell most')}**")
    if not told["next"]:
        st.caption(t("None can be named: the runs do not follow a law so far."))
        return
    sizes = told["over"] == "sizes"
    for run in told["next"]:
        st.markdown(f"- {forms.plain(_worth(told_text(run['what']), run['worth'], sizes=sizes))}")
    if not sizes:
        st.caption(t("In nats: how much better than the best mix they may be, as an expectation."))


def _worth(what: str, worth: float | None, *, sizes: bool) -> str:
    if worth is None:
        return what
    if sizes:
        return t("{what}: {worth:.0%} of the uncertainty about twice the data", what=what, worth=worth)
    return t("{what}: {worth:.4f} nats", what=what, worth=worth)


def _mixes(mix: Path) -> tuple[int, int]:
    """The fewest runs over the weights of a mix's sources, and as many as are usual."""
    from training.mix_search.regression import fewest_mixes
    from training.runs.run_folder import RunFolder

    # A mix that was not exported here does not say its sources; three is a guess that the field lets one change.
    sources = len(RunFolder(mix).read("manifest.json").get("by_source") or ()) or 3
    return fewest_mixes(sources), max(fewest_mixes(sources), 2 * sources + 2)


def _effects(fitted: dict[str, Any]) -> None:
    import polars as pl

    if not fitted["effects"]:
        return
    st.markdown(t("**Ten points more of a source**, as a change of each held-out loss"))
    first = t("Held out")
    rows = [{first: held, **effects} for held, effects in fitted["effects"].items()]
    numbers = {name: st.column_config.NumberColumn(name, format="%+.4f") for name in rows[0] if name != first}
    st.dataframe(
        pl.DataFrame(rows),
        hide_index=True,
        height="content",
        column_config=numbers,
        alt=t("Change of each held-out loss for ten points more of each source"),
    )


def _trials(told: dict[str, Any]) -> None:
    import polars as pl

    number = st.column_config.NumberColumn
    with st.expander(tn("{n} run", "{n:,} runs", len(told["trials"])), expanded=True):
        st.dataframe(
            pl.DataFrame([trial_row(trial) for trial in told["trials"]], infer_schema_length=None),
            hide_index=True,
            height="content",
            column_config={
                "size": number(t("Share of the mix"), format="%.4f"),
                "weights": st.column_config.TextColumn(t("Weights"), width="large"),
                "rows": number(t("Rows"), format="localized"),
                "tokens": number(t("Tokens"), format="localized"),
                "base": number(t("Loss before"), format="%.4f"),
                "loss": number(t("Loss after"), format="%.4f"),
                "seconds": number(t("Seconds"), format="%.1f"),
                "run": st.column_config.TextColumn(t("Training run"), width="medium"),
            },
            alt=t("The runs of the search"),
        )


def _export(corpus: Corpus, told: dict[str, Any]) -> None:
    recipe = told["recipe"]
    if not recipe:
        return
    st.markdown(f"**{t('The predicted best mix')}**")
    rows = ", ".join(f"{name} {n:,}" for name, n in recipe["largest"].items())
    st.caption(forms.plain(t("As large as the samples of the mix allow, in rows: {rows}.", rows=rows)))
    if recipe["file"]:
        forms.command_box(
            corpus,
            ["export", str(corpus.path), recipe["file"]],
            key="search_export",
            label=t("Make the mix"),
            primary=False,
        )

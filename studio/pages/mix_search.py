"""Searches for a mix: small runs over sizes or source weights, what they show, and which to make next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from studio import forms
from studio.mix_searching import FOLDER, findings, trial_row
from studio.pages.score import has_warm_up
from studio.pages.train import mix_folders
from training.mix_search.design import in_words

if TYPE_CHECKING:
    from curation.corpus import Corpus

OVER = {"sizes": "Sizes: what would more data bring?", "weights": "Weights: which sources should there be more of?"}
BEST, NATURAL = "predicted best", "mix as it is"


def section(corpus: Corpus) -> None:
    """The part of the page that searches."""
    mixes = mix_folders(corpus)
    if not mixes:
        forms.empty_state(
            "Searches appear here",
            "A search trains small runs on parts of an exported mix, and there is none yet: make one on the Mix page.",
            "mix",
        )
        return
    _search(corpus, mixes)
    _found(corpus)


def _search(corpus: Corpus, mixes: list[Path]) -> None:
    form, command = st.columns([3, 2], gap="large")
    with form:
        over = st.segmented_control(
            "Search over", list(OVER), format_func=lambda o: OVER[o], default="sizes", required=True, key="search_over"
        )
        mix_cell, base_cell = st.columns(2)
        mix = mix_cell.selectbox("Mix", mixes, format_func=lambda p: p.name, key=f"search_mix_{len(mixes)}")
        base = base_cell.text_input(
            "Base model",
            placeholder="the corpus' warm-up model",
            key="search_base",
            help="A folder, or a name on the hub.",
        ).strip()
        runs_cell, repeats_cell, extent_cell = st.columns(3)
        fewest, usual = (4, 5) if over == "sizes" else _mixes(mix)
        runs = runs_cell.number_input("Runs", fewest, 256, usual, key=f"search_runs_{over}_{usual}")
        repeats = repeats_cell.number_input(
            "Repeats", 1, 8, 2, key="search_repeats", help="Other draws and seeds: they tell noise from effect."
        )
        if over == "sizes":
            extent = extent_cell.number_input(
                "Smallest, of the mix", 0.01, 0.9, 0.0625, format="%.4f", key="search_smallest"
            )
        else:
            extent = extent_cell.number_input("Text of a run, of the mix", 0.05, 1.0, 0.5, key="search_share")
        name = st.text_input(
            "Name of the search", value=f"{mix.name}-{over}", key=f"search_name_{mix.name}_{over}"
        ).strip()
    option = "--smallest" if over == "sizes" else "--share"
    words = ["mix-search", str(mix), "--name", name or f"{mix.name}-{over}", "--over", str(over), "--runs", str(runs)]
    words += ["--repeats", str(repeats), option, f"{extent:g}", *(["--base-model", base] if base else [])]
    with command:
        missing = None if base or has_warm_up(corpus) else "Name a base model, or make the warm-up model on Score."
        forms.command_box(corpus, words, key="search", label="Search", disabled_reason=missing)
        st.caption(f"{int(runs) * int(repeats):,} runs, one after another; those that are done are not made again.")


def searches(corpus: Corpus) -> list[Path]:
    """Folders of the searches that have a report, the latest first."""
    reports = (corpus.path / FOLDER).glob("*/report.json")
    return [p.parent for p in sorted(reports, key=lambda p: -p.stat().st_mtime)]


def _found(corpus: Corpus) -> None:
    from training.mix_search.searching import found

    st.subheader("Results")
    folders = searches(corpus)
    if not folders:
        st.caption("No search has ended yet. The runs, the law they follow and the best mix appear here.")
        return
    folder = st.selectbox(
        "Search", folders, format_func=lambda p: p.name, key=f"searched_{len(folders)}_{folders[0].name}", width=360
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
        st.caption(forms.plain(f"{note}."))


def _findings(told: dict[str, Any]) -> None:
    lines = findings(told)
    refused = bool(told["law"] and told["law"]["reason"]) or bool(told["weights"] and told["weights"]["reason"])
    if refused:
        st.info(forms.plain(lines[0][:1].upper() + lines[0][1:] + "."), icon=":material/help:")
        for line in lines[1:]:
            st.caption(forms.plain(line[:1].upper() + line[1:] + "."))
        return
    for line in lines:
        st.markdown(forms.plain(line))


def _law_chart(told: dict[str, Any]) -> None:
    import altair as alt
    import polars as pl

    st.markdown("**Held-out loss against tokens**")
    points = pl.DataFrame(
        [{"tokens": t["tokens"], "loss": t["loss"], "run": t["name"], "rows": t["rows"]} for t in told["trials"]]
    )
    x = alt.X(
        "tokens:Q",
        title="tokens (one pass)",
        scale=alt.Scale(type="log", nice=False, padding=14),
        axis=alt.Axis(format="~s"),
    )
    scale = alt.Scale(zero=False)
    y = alt.Y("loss:Q", title="nats per token", scale=scale, axis=alt.Axis(format=".3~f"))
    dots = alt.Chart(points).mark_point(filled=True, size=80, opacity=1, color="#4F46E5").encode(
        x=x, y=y, tooltip=["run", alt.Tooltip("rows:Q", format=","), alt.Tooltip("loss:Q", format=".4f")]
    )  # fmt: skip
    layers = [dots]
    if told["law"]["band"]:
        band = pl.DataFrame(
            [
                {"tokens": p["n"], "loss": p["loss"], "low": p["interval"][0], "high": p["interval"][1]}
                for p in told["law"]["band"]
            ]
        )
        area = alt.Chart(band).mark_area(opacity=0.18, color="#4F46E5").encode(
            x=x, y=alt.Y("low:Q", title="nats per token", scale=scale), y2="high:Q"
        )  # fmt: skip
        line = alt.Chart(band).mark_line(color="#4F46E5").encode(x=x, y=y)
        largest = pl.DataFrame({"tokens": [max(t["tokens"] for t in told["trials"])]})
        edge = alt.Chart(largest).mark_rule(color="#A1A1AA", strokeDash=[3, 3]).encode(x=x)
        layers = [area, line, edge, dots]
    st.altair_chart(alt.layer(*layers).properties(height=340), alt="Runs by size, the fitted law and its 95 % band")
    if told["law"]["band"]:
        st.caption("The band holds the law with 95 %; what lies right of the dashed line was not run.")


def _weights_chart(told: dict[str, Any]) -> None:
    import altair as alt
    import polars as pl

    fitted = told["weights"]
    mixes = {NATURAL: fitted["natural"], BEST: fitted["best"]}
    rows = [
        {"mix": name, "source": source, "share": share}
        for name, predicted in mixes.items()
        for source, share in predicted["weights"].items()
    ]
    st.markdown("**Weights of the sources**")
    chart = (
        alt.Chart(pl.DataFrame(rows))
        .mark_bar()
        .encode(
            x=alt.X("share:Q", title="share of the text", axis=alt.Axis(format="%")),
            y=alt.Y("mix:N", title=None, sort=list(mixes), axis=alt.Axis(labelLimit=140)),
            yOffset=alt.YOffset("source:N"),
            color=alt.Color("source:N", title=None, legend=alt.Legend(orient="bottom", columns=3, labelLimit=200)),
            tooltip=["mix", "source", alt.Tooltip("share:Q", format=".1%")],
        )
        .properties(height=60 + 44 * len(fitted["best"]["weights"]))
    )
    st.altair_chart(chart, alt="Weights of each source in the mix as it is and in the predicted best")
    _losses_chart(told)


def _losses_chart(told: dict[str, Any]) -> None:
    """What each run over weights reached, the lowest first."""
    import altair as alt
    import polars as pl

    st.markdown("**What each run reached**")
    rows = [
        {"weights": in_words(t["weights"] or {}), "loss": t["loss"]}
        for t in sorted(told["trials"], key=lambda t: t["loss"])
    ]
    chart = (
        alt.Chart(pl.DataFrame(rows))
        .mark_point(filled=True, size=80, opacity=0.9)
        .encode(
            x=alt.X("loss:Q", title="held-out loss (nats per token)", scale=alt.Scale(zero=False)),
            y=alt.Y(
                "weights:N",
                sort=list(dict.fromkeys(r["weights"] for r in rows)),
                title=None,
                axis=alt.Axis(labelLimit=380),
            ),
            tooltip=["weights", alt.Tooltip("loss:Q", format=".4f")],
        )
        .properties(height=60 + 24 * len({r["weights"] for r in rows}))
    )
    st.altair_chart(chart, alt="Held-out loss of every run over weights, the lowest first")


def _next(told: dict[str, Any]) -> None:
    st.markdown("**Runs that would tell most**")
    if not told["next"]:
        st.caption("None can be named: the runs do not follow a law so far.")
        return
    sizes = told["over"] == "sizes"
    for run in told["next"]:
        st.markdown(f"- {forms.plain(run['what'])}{_worth(run['worth'], sizes=sizes)}")
    if not sizes:
        st.caption("In nats: how much better than the best mix they may be, as an expectation.")


def _worth(worth: float | None, *, sizes: bool) -> str:
    if worth is None:
        return ""
    return f": {worth:.0%} of the uncertainty about twice the data" if sizes else f": {worth:.4f} nats"


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
    st.markdown("**Ten points more of a source**, as a change of each held-out loss")
    rows = [{"Held out": held, **effects} for held, effects in fitted["effects"].items()]
    numbers = {name: st.column_config.NumberColumn(name, format="%+.4f") for name in rows[0] if name != "Held out"}
    st.dataframe(
        pl.DataFrame(rows),
        hide_index=True,
        height="content",
        column_config=numbers,
        alt="Change of each held-out loss for ten points more of each source",
    )


def _trials(told: dict[str, Any]) -> None:
    import polars as pl

    number = st.column_config.NumberColumn
    with st.expander(f"{len(told['trials'])} runs", expanded=True):
        st.dataframe(
            pl.DataFrame([trial_row(trial) for trial in told["trials"]], infer_schema_length=None),
            hide_index=True,
            height="content",
            column_config={
                "size": number("Share of the mix", format="%.4f"),
                "weights": st.column_config.TextColumn("Weights", width="large"),
                "rows": number("Rows", format="localized"),
                "tokens": number("Tokens", format="localized"),
                "base": number("Loss before", format="%.4f"),
                "loss": number("Loss after", format="%.4f"),
                "seconds": number("Seconds", format="%.1f"),
                "run": st.column_config.TextColumn("Run", width="medium"),
            },
            alt="The runs of the search",
        )


def _export(corpus: Corpus, told: dict[str, Any]) -> None:
    recipe = told["recipe"]
    if not recipe:
        return
    st.markdown("**The predicted best mix**")
    rows = ", ".join(f"{name} {n:,}" for name, n in recipe["largest"].items())
    st.caption(forms.plain(f"As large as the samples of the mix allow: {rows} rows."))
    if recipe["file"]:
        forms.command_box(
            corpus, ["export", str(corpus.path), recipe["file"]], key="search_export", label="Make the mix"
        )

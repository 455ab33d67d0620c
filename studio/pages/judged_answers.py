"""What models wrote to the same prompts: how much of it is right, who is preferred, and the texts side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from studio import forms, plots
from studio.languages import mark, t, tn, told_text
from studio.pages import answers_side_by_side
from studio.pages.answers_side_by_side import MODELS
from studio.pages.run_colours import ACCENT, GREY, ORANGE, plain_key

if TYPE_CHECKING:
    import polars as pl

CHECKS = {"final_answer": mark("Right final answers"), "code_tests": mark("Programs that pass")}


def section(folder: Path, found: Mapping[str, Any]) -> None:
    """Everything about a run's answers, from its files alone."""
    if found["prompts_file"]:
        file = forms.plain(Path(found["prompts_file"]).name)
        st.markdown(t("**Answers** to {n:,} of the prompts in {file}", n=found["prompts"], file=file))
    else:
        st.markdown(t("**Answers** to {n:,} of the held-out prompts", n=found["prompts"]))
    st.dataframe(
        models_table(found),
        hide_index=True,
        height="content",
        column_config=_columns(),
        placeholder=t("not measured"),
        alt=t("What the answers of each model of {run} show", run=folder.name),
    )
    left, right = st.columns(2, gap="large")
    with left:
        for line in sentences(found):
            st.caption(forms.plain(line))
    with right:
        _win_rates(folder.name, found)
    with st.expander(t("Answers side by side"), icon=":material/compare:"):
        st.fragment(answers_side_by_side.section)(folder)


def models_table(found: Mapping[str, Any]) -> pl.DataFrame:
    """One row per model; shares are of 1, and have their interval beside them."""
    import polars as pl

    rows: dict[str, dict[str, Any]] = {
        one["model"]: {"model": t(MODELS.get(one["model"], one["model"])), "tokens": one["tokens"], "cut": one["cut"]}
        for one in found["lengths"]
    }
    for check in found["verified"]:
        for share in check["shares"]:
            rows[share["model"]] |= {
                check["check"]: share["share"],
                f"{check['check']}_interval": t(
                    "{low:.0%} to {high:.0%} of {n}", low=share["low"], high=share["high"], n=share["answers"]
                ),
            }
    for one in found["references"]:
        for name, digits in (("rougeL", 3), ("bleu", 2)):
            rows[one["model"]] |= {name: one[name]["mean"], f"{name}_interval": _interval(one[name], digits)}
    columns = dict.fromkeys(name for row in rows.values() for name in row)
    return pl.DataFrame([{name: row.get(name) for name in columns} for row in rows.values()])


def _interval(found: Mapping[str, Any], digits: int) -> str:
    if found["low"] is None:
        return t("too few")
    return t("{low} to {high}", low=f"{found['low']:.{digits}f}", high=f"{found['high']:.{digits}f}")


def _columns() -> dict[str, Any]:
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    return {
        "model": text(t("Model"), width=70),
        "tokens": number(t("Tokens"), format="%.0f", width=60, help=t("Mean length of an answer.")),
        "cut": number(
            t("Cut off"), format="percent", width=64, help=t("Ended at the longest length and not by itself.")
        ),
        "final_answer": number(
            t("Right"), format="percent", width=60, help=t("Final answers that are the expected ones.")
        ),
        "final_answer_interval": text(t("95 % interval"), width=126),
        "code_tests": number(t("Passes"), format="percent", width=60, help=t("Programs that pass all of their tests.")),
        "code_tests_interval": text(t("95 % interval"), width=126),
        "rougeL": number(
            "ROUGE-L", format="%.3f", width=74, help=t("Likeness to the reference answers: wording, not truth.")
        ),
        "rougeL_interval": text(t("95 % interval"), width=110),
        "bleu": number(
            "BLEU", format="%.2f", width=56, help=t("Likeness to the reference answers: wording, not truth.")
        ),
        "bleu_interval": text(t("95 % interval"), width=100),
    }


def sentences(found: Mapping[str, Any]) -> list[str]:
    """What the table shows, claiming only what an interval shows; and why numbers are missing."""
    told = []
    for check in found["verified"]:
        what = t(CHECKS[check["check"]])
        for other, key in ((t("the base"), "gained"), (t("the random arm"), "over_random")):
            if check[key] is not None:
                told.append(t("{what}: {finding}.", what=what, finding=_against(check[key], other)))
        if not check["shares"]:
            told.append(t("{what}: not measured, {reason}.", what=what, reason=told_text(check["reason"])))
    if found["references_reason"]:
        told.append(
            t("{what}: not measured, {reason}.", what="ROUGE, BLEU", reason=told_text(found["references_reason"]))
        )
    if found["too_long"]:
        told.append(
            tn(
                "{n} prompt is too long for the model and was not asked.",
                "{n:,} prompts are too long for the model and were not asked.",
                found["too_long"],
            )
        )
    if found.get("refused"):
        told.append(
            tn(
                "{n} prompt is refused by the chat template and was not asked.",
                "{n:,} prompts are refused by the chat template and were not asked.",
                found["refused"],
            )
        )
    return told


def _against(gain: Mapping[str, Any], other: str) -> str:
    points = {"points": 100 * gain["mean"], "other": other}
    if gain["low"] is None:
        return t("{points:+.1f} points against {other}, too few prompts for an interval", **points)
    points |= {"low": 100 * gain["low"], "high": 100 * gain["high"]}
    if gain["low"] > 0:
        return t("better, {points:+.1f} points against {other} (95 % interval {low:+.1f} to {high:+.1f})", **points)
    if gain["high"] < 0:
        return t("worse, {points:+.1f} points against {other} (95 % interval {low:+.1f} to {high:+.1f})", **points)
    return t("not proven, {points:+.1f} points against {other} (95 % interval {low:+.1f} to {high:+.1f})", **points)


def _win_rates(name: str, found: Mapping[str, Any]) -> None:
    if not found["win_rates"]:
        st.caption(forms.plain(t("No win rate: {reason}.", reason=told_text(found["judge_reason"]))))
        return
    plots.draw(
        bars(found["win_rates"]),
        lambda: rate_points(found["win_rates"]),
        name=f"win-rates-{name}",
        alt=t("Win rates of {run} with their 95 % intervals", run=name),
        key=f"win_rates_{plain_key(name)}",
    )
    for rate in found["win_rates"]:
        st.caption(forms.plain(rate_sentence(rate)))
    judge = str(found["judge"]).replace("`", "")
    st.caption(t("Judge: {judge}, each pair in both orders; a tie counts half.", judge=f"`{judge}`"))


def rate_points(rates: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """pair, kind, rate, low, high: of all verdicts, and of those at equal length."""
    import polars as pl

    points = []
    for rate in rates:
        pair = t("against {other}", other=t(MODELS.get(rate["against"], rate["against"])))
        for kind, value, low, high in (
            (t("all verdicts"), "rate", "low", "high"),
            (t("at equal length"), "controlled", "controlled_low", "controlled_high"),
        ):
            if rate[value] is not None:
                points.append({"pair": pair, "kind": kind, "rate": rate[value], "low": rate[low], "high": rate[high]})
    schema = {"pair": pl.String, "kind": pl.String, "rate": pl.Float64, "low": pl.Float64, "high": pl.Float64}
    return pl.DataFrame(points, schema=schema)


def bars(rates: Sequence[Mapping[str, Any]]) -> Any:
    """Win rate of the trained model against each other one, plain and at equal length, with intervals."""
    import altair as alt
    import polars as pl

    kinds = [t("all verdicts"), t("at equal length")]
    colour = alt.Scale(domain=kinds, range=[ACCENT, ORANGE])
    shape = alt.Scale(domain=kinds, range=["circle", "diamond"])
    axis = alt.Axis(format="%", title=t("wins, ties counted half"))
    legend = alt.Legend(orient="top")
    base = alt.Chart(rate_points(rates)).encode(
        y=alt.Y("pair:N", title=None),
        yOffset=alt.YOffset("kind:N", sort=kinds),
        color=alt.Color("kind:N", title=None, scale=colour, legend=legend),
        tooltip=[
            alt.Tooltip("pair:N", title=t("pair")),
            alt.Tooltip("kind:N", title=t("verdicts")),
            alt.Tooltip("rate:Q", title=t("win rate"), format=".1%"),
            alt.Tooltip("low:Q", title=t("from"), format=".1%"),
            alt.Tooltip("high:Q", title=t("to"), format=".1%"),
        ],
    )
    x = alt.X("rate:Q", scale=alt.Scale(domain=[0, 1]), axis=axis)
    dot = base.mark_point(filled=True, size=110, opacity=1).encode(
        x=x, shape=alt.Shape("kind:N", title=None, scale=shape, legend=legend)
    )
    error = base.mark_rule(strokeWidth=2.5).encode(x=alt.X("low:Q", axis=axis), x2="high:Q")
    half = alt.Chart(pl.DataFrame({"x": [0.5]})).mark_rule(strokeDash=[4, 4], color=GREY).encode(x="x:Q")
    return (half + error + dot).properties(height=70 + 50 * len(rates))


def rate_sentence(rate: Mapping[str, Any]) -> str:
    """What a win rate shows, the judge's bias, and what it could not say."""
    from training.judging.win_rate import conclusion

    other = t(MODELS.get(rate["against"], rate["against"]))
    if rate["rate"] is None:
        return t("Against {other}: no verdict could be read ({n} pairs).", other=other, n=rate["unread"])
    told = [
        t(
            "Against {other}: {conclusion}, {rate:.0%} ({low:.0%} to {high:.0%}); {wins} won, {ties} ties, "
            "{losses} lost",
            other=other,
            conclusion=told_text(conclusion(rate)),
            **{key: rate[key] for key in ("rate", "low", "high", "wins", "ties", "losses")},
        )
    ]
    if rate["controlled"] is None:
        told.append(t("at equal length not known ({reason})", reason=told_text(str(rate["controlled_reason"]))))
    if rate["longer"] is not None:
        told.append(t("the trained answer is the longer one in {share:.0%}", share=rate["longer"]))
    if rate["first"] is not None:
        told.append(
            t(
                "the judge took the answer shown first in {share:.0%} ({low:.0%} to {high:.0%}; 50 % is no bias), "
                "{n} verdicts changed with the order",
                share=rate["first"],
                low=rate["first_low"],
                high=rate["first_high"],
                n=rate["inconsistent"],
            )
        )
    if rate["unread"]:
        reasons = ", ".join(map(told_text, rate["reasons"]))
        told.append(
            tn("{n} pair without a verdict: {reasons}", "{n:,} pairs without a verdict: {reasons}", rate["unread"],
               reasons=reasons)
        )  # fmt: skip
    return t("{sentence}.", sentence=t("; ").join(told))

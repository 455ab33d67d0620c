"""What models wrote to the same prompts: how much of it is right, who is preferred, and the texts side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from studio import forms
from studio.pages import conversations

if TYPE_CHECKING:
    import polars as pl

CHECKS = {"final_answer": "Right final answers", "code_tests": "Programs that pass"}
VERDICTS = {1.0: "trained preferred", 0.0: "other preferred", 0.5: "tie"}
MODELS = ("base", "trained", "random")
FILES = ("answers.jsonl", "answer_scores.jsonl", "judged_pairs.jsonl")
"""Of a run: what the answers side by side are read from."""
SHOWN = {
    "all": "All prompts",
    "lost": "Trained lost",
    "won": "Trained won",
    "wrong": "Trained wrong",
    "cut": "Trained cut off",
}


def section(folder: Path, found: Mapping[str, Any]) -> None:
    """Everything about a run's answers, from its files alone."""
    asked = f"prompts in {Path(found['prompts_file']).name}" if found["prompts_file"] else "held-out prompts"
    st.markdown(f"**Answers** to {found['prompts']:,} of the {forms.plain(asked)}")
    st.dataframe(
        models_table(found),
        hide_index=True,
        height="content",
        column_config=_columns(),
        placeholder="not measured",
        alt=f"What the answers of each model of {folder.name} show",
    )
    left, right = st.columns(2, gap="large")
    with left:
        for line in sentences(found):
            st.caption(forms.plain(line))
    with right:
        _win_rates(folder.name, found)
    with st.expander("Answers side by side", icon=":material/compare:"):
        st.fragment(side_by_side)(folder)


def models_table(found: Mapping[str, Any]) -> pl.DataFrame:
    """One row per model; shares are of 1, and have their interval beside them."""
    import polars as pl

    rows: dict[str, dict[str, Any]] = {
        one["model"]: {"model": one["model"], "tokens": one["tokens"], "cut": one["cut"]} for one in found["lengths"]
    }
    for check in found["verified"]:
        for share in check["shares"]:
            rows[share["model"]] |= {
                check["check"]: share["share"],
                f"{check['check']}_interval": f"{share['low']:.0%} to {share['high']:.0%} of {share['answers']}",
            }
    for one in found["references"]:
        for name, digits in (("rougeL", 3), ("bleu", 2)):
            rows[one["model"]] |= {name: one[name]["mean"], f"{name}_interval": _interval(one[name], digits)}
    columns = dict.fromkeys(name for row in rows.values() for name in row)
    return pl.DataFrame([{name: row.get(name) for name in columns} for row in rows.values()])


def _interval(found: Mapping[str, Any], digits: int) -> str:
    if found["low"] is None:
        return "too few"
    return f"{found['low']:.{digits}f} to {found['high']:.{digits}f}"


def _columns() -> dict[str, Any]:
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    return {
        "model": text("Model", width=70),
        "tokens": number("Tokens", format="%.0f", width=60, help="Mean length of an answer."),
        "cut": number("Cut off", format="percent", width=64, help="Ended at the longest length and not by itself."),
        "final_answer": number("Right", format="percent", width=60, help="Final answers that are the expected ones."),
        "final_answer_interval": text("95 % interval", width=126),
        "code_tests": number("Passes", format="percent", width=60, help="Programs that pass all of their tests."),
        "code_tests_interval": text("95 % interval", width=126),
        "rougeL": number(
            "ROUGE-L", format="%.3f", width=74, help="Likeness to the reference answers: wording, not truth."
        ),
        "rougeL_interval": text("95 % interval", width=110),
        "bleu": number("BLEU", format="%.2f", width=56, help="Likeness to the reference answers: wording, not truth."),
        "bleu_interval": text("95 % interval", width=100),
    }


def sentences(found: Mapping[str, Any]) -> list[str]:
    """What the table shows, claiming only what an interval shows; and why numbers are missing."""
    told = []
    for check in found["verified"]:
        for other, key in (("the base", "gained"), ("the random arm", "over_random")):
            if check[key] is not None:
                told.append(f"{CHECKS[check['check']]}: {_against(check[key], other)}.")
        if not check["shares"]:
            told.append(f"{CHECKS[check['check']]}: not measured, {check['reason']}.")
    if found["references_reason"]:
        told.append(f"ROUGE and BLEU: not measured, {found['references_reason']}.")
    if found["too_long"]:
        told.append(f"{found['too_long']:,} prompts are too long for the model and were not asked.")
    if found.get("refused"):
        told.append(f"{found['refused']:,} prompts are refused by the chat template and were not asked.")
    return told


def _against(gain: Mapping[str, Any], other: str) -> str:
    mean = f"{100 * gain['mean']:+.1f} points against {other}"
    if gain["low"] is None:
        return f"{mean}, too few prompts for an interval"
    shown = f"{mean} (95 % interval {100 * gain['low']:+.1f} to {100 * gain['high']:+.1f})"
    return f"better, {shown}" if gain["low"] > 0 else f"worse, {shown}" if gain["high"] < 0 else f"not proven, {shown}"


def _win_rates(name: str, found: Mapping[str, Any]) -> None:
    if not found["win_rates"]:
        st.caption(forms.plain(f"No win rate: {found['judge_reason']}."))
        return
    st.altair_chart(bars(found["win_rates"]), alt=f"Win rates of {name} with their 95 % intervals")
    for rate in found["win_rates"]:
        st.caption(forms.plain(rate_sentence(rate)))
    judge = str(found["judge"]).replace("`", "")
    st.caption(f"Judge: `{judge}`, each pair in both orders; a tie counts half.")


def bars(rates: Sequence[Mapping[str, Any]]) -> Any:
    """Win rate of the trained model against each other one, plain and at equal length, with intervals."""
    import altair as alt
    import polars as pl

    points = []
    for rate in rates:
        for kind, key in (("all verdicts", ""), ("at equal length", "controlled")):
            value, low, high = (
                rate[key or "rate"],
                rate[f"{key}_low" if key else "low"],
                rate[f"{key}_high" if key else "high"],
            )
            if value is not None:
                points.append(
                    {"pair": f"against {rate['against']}", "kind": kind, "rate": value, "low": low, "high": high}
                )
    schema = {"pair": pl.String, "kind": pl.String, "rate": pl.Float64, "low": pl.Float64, "high": pl.Float64}
    colour = alt.Scale(domain=["all verdicts", "at equal length"], range=["#4F46E5", "#A5A0F0"])
    axis = alt.Axis(format="%", title="wins, ties counted half")
    base = alt.Chart(pl.DataFrame(points, schema=schema)).encode(
        y=alt.Y("pair:N", title=None), yOffset=alt.YOffset("kind:N"), tooltip=["pair", "kind", "rate", "low", "high"]
    )
    bar = base.mark_bar().encode(
        x=alt.X("rate:Q", scale=alt.Scale(domain=[0, 1]), axis=axis),
        color=alt.Color("kind:N", title=None, scale=colour, legend=alt.Legend(orient="top")),
    )
    error = base.mark_rule(color="#18181B", strokeWidth=2).encode(x="low:Q", x2="high:Q")
    half = alt.Chart(pl.DataFrame({"x": [0.5]})).mark_rule(strokeDash=[4, 4], color="#71717A").encode(x="x:Q")
    return (bar + half + error).properties(height=70 + 50 * len(rates))


def rate_sentence(rate: Mapping[str, Any]) -> str:
    """What a win rate shows, the judge's bias, and what it could not say."""
    from training.judging.win_rate import conclusion

    if rate["rate"] is None:
        return f"Against {rate['against']}: no verdict could be read ({rate['unread']} pairs)."
    told = [
        f"Against {rate['against']}: {conclusion(rate)}, {rate['rate']:.0%} ({rate['low']:.0%} to {rate['high']:.0%}); "
        f"{rate['wins']} won, {rate['ties']} ties, {rate['losses']} lost"
    ]
    if rate["controlled"] is None:
        told.append(f"at equal length not known ({rate['controlled_reason']})")
    if rate["longer"] is not None:
        told.append(f"the trained answer is the longer one in {rate['longer']:.0%}")
    if rate["first"] is not None:
        told.append(
            f"the judge took the answer shown first in {rate['first']:.0%} "
            f"({rate['first_low']:.0%} to {rate['first_high']:.0%}; 50 % is no bias), {rate['inconsistent']} verdicts "
            "changed with the order"
        )
    if rate["unread"]:
        pairs = "1 pair" if rate["unread"] == 1 else f"{rate['unread']} pairs"
        told.append(f"{pairs} without a verdict: {', '.join(rate['reasons'])}")
    return "; ".join(told) + "."


# -------------------------------------------------------------------- side by side


def side_by_side(folder: Path) -> None:
    """One prompt at a time with every model's answer, found by words, kind of outcome, or one after another."""
    files = [folder / name for name in FILES]
    stamps = tuple((path.stat().st_mtime_ns, path.stat().st_size) if path.exists() else (0, 0) for path in files)
    prompts = _prompts(str(folder), stamps)
    name = folder.name
    search, kind, place, back, forward = st.columns([4, 3, 2, 1, 1], vertical_alignment="bottom")
    words = search.text_input("Search prompts and answers", key=f"answers_search_{name}", placeholder="words")
    shown = kind.selectbox("Show", list(SHOWN), format_func=SHOWN.__getitem__, key=f"answers_kind_{name}")
    found = [prompt for prompt in prompts if _matches(prompt, words, shown)]
    if not found:
        st.caption("No prompt matches.")
        return
    key = f"answers_at_{name}"
    at = min(st.session_state.get(key, 1), len(found))
    st.session_state[key] = at
    place.number_input(f"Prompt of {len(found):,}", 1, len(found), key=key)
    back.button(
        "",
        icon=":material/chevron_left:",
        key=f"{key}-back",
        help="Previous",
        on_click=_step,
        args=(key, -1, len(found)),
    )
    forward.button(
        "", icon=":material/chevron_right:", key=f"{key}-next", help="Next", on_click=_step, args=(key, 1, len(found))
    )
    _prompt(found[at - 1])


@st.cache_data(max_entries=4, show_spinner=False)
def _prompts(folder: str, stamps: tuple[tuple[int, int], ...]) -> list[dict[str, Any]]:
    from training.judging.answers import read_answers
    from training.judging.pairwise import read_pairs, still_true
    from training.judging.verified import read_scores

    scores = read_scores(folder)
    # Answers of earlier evaluations are kept too; those that the numbers above are about have scores.
    current = [answer for answer in read_answers(folder) if (answer.id, answer.model) in scores]
    by_model = {model: [answer for answer in current if answer.model == model] for model in MODELS}
    pairs = read_pairs(folder)
    return by_prompt(current, scores, [row for name in MODELS for row in still_true(pairs, by_model, name)])


def _step(key: str, by: int, count: int) -> None:
    st.session_state[key] = (st.session_state[key] - 1 + by) % count + 1


def by_prompt(
    answers: Sequence[Any],
    scores: Mapping[tuple[str, str], Mapping[str, Any]],
    pairs: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Prompt by prompt: its messages, its reference, and by model the answer and what was found of it."""
    verdicts: dict[str, dict[str, Mapping[str, Any]]] = {}
    for pair in pairs:
        verdicts.setdefault(pair["id"], {})[pair["against"]] = pair
    found: dict[str, dict[str, Any]] = {}
    for answer in answers:
        prompt = found.setdefault(
            answer.id,
            {
                "id": answer.id,
                "source": answer.source,
                "messages": answer.prompt,
                "reference": answer.reference,
                "answers": {},
                "verdicts": verdicts.get(answer.id, {}),
            },
        )
        prompt["answers"][answer.model] = (answer, scores.get((answer.id, answer.model), {}))
    return list(found.values())


def _matches(prompt: Mapping[str, Any], words: str, shown: str) -> bool:
    texts = [prompt["reference"] or "", *(m.get("content") or "" for m in prompt["messages"])]
    texts += [answer.answer for answer, _ in prompt["answers"].values()]
    text = " ".join(map(str, texts)).casefold()
    if not all(word in text for word in words.casefold().split()):
        return False
    verdicts = [pair["verdict"] for pair in prompt["verdicts"].values()]
    answer, score = prompt["answers"].get("trained", (None, {}))
    if shown == "lost":
        return 0.0 in verdicts
    if shown == "won":
        return 1.0 in verdicts
    if shown == "wrong":
        return (
            score.get("final_answer") is False or (score.get("code_tests") or 1.0) < 1.0 or score.get("code_tests") == 0
        )
    return shown == "all" or (answer is not None and answer.finish_reason == "length")


def _prompt(prompt: Mapping[str, Any]) -> None:
    st.caption(forms.plain(f"{prompt['source']} · {prompt['id']}"))
    with st.container(border=True, gap="xsmall"):
        st.badge("prompt", color="blue")
        for message in prompt["messages"]:
            if len(prompt["messages"]) > 1:
                st.caption(forms.plain(str(message["role"])))
            _text(str(message.get("content") or ""))
    names = [name for name in MODELS if name in prompt["answers"]]
    cells = st.columns(len(names) + (prompt["reference"] is not None))
    for name, cell in zip(names, cells, strict=False):
        with cell, st.container(border=True, gap="xsmall", height="stretch"):
            answer, score = prompt["answers"][name]
            st.badge(name, color={"base": "gray", "trained": "violet", "random": "orange"}[name])  # type: ignore[arg-type]
            _text(answer.answer or "(empty)")
            st.caption(forms.plain(" · ".join(findings(answer, score, prompt["verdicts"].get(name)))))
    if prompt["reference"] is not None:
        with cells[-1], st.container(border=True, gap="xsmall", height="stretch"):
            st.badge("reference", color="green")
            _text(prompt["reference"])


def findings(answer: Any, score: Mapping[str, Any], pair: Mapping[str, Any] | None) -> list[str]:
    """What is known of one answer, in a few words each."""
    told = [f"{answer.tokens:,} tokens" + (", cut off" if answer.finish_reason == "length" else "")]
    if score.get("final_answer") is not None:
        right = "right" if score["final_answer"] else f"wrong, expected {score['final_answer_expected']}"
        told.append(f"final answer {score['final_answer_found'] or 'missing'}: {right}")
    if score.get("code_tests") is not None:
        told.append(f"passes {score['code_tests']:.0%} of the tests")
        if score.get("code_tests_error"):
            told.append(str(score["code_tests_error"])[:120])
    if score.get("rougeL") is not None:
        told.append(f"ROUGE-L {score['rougeL']:.2f}")
    if pair is not None:
        told.append(
            f"judge: {VERDICTS.get(pair['verdict'], 'no verdict')}" + (f" ({pair['why']})" if pair["why"] else "")
        )
    return told


def _text(text: str) -> None:
    for part, language in conversations.passages(text[: conversations.LONGEST]):
        if language is None:
            st.text(part)
        else:
            st.code(part, language=language or None, wrap_lines=True)
    if len(text) > conversations.LONGEST:
        st.caption(f"{len(text) - conversations.LONGEST:,} more characters")

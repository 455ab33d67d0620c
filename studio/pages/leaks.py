"""Leaked benchmark questions as a reader checks them: sample and question side by side, with what both have marked."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from studio import forms
from studio.languages import mark, t

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus

ROWS = 500
"""Samples in the table."""
LONGEST = 6_000
"""Characters of a text that are shown."""
ORDERS = {
    mark("Most overlap first"): "contamination DESC, position",
    mark("Least overlap first"): "contamination, position",
    mark("By question"): "contamination_benchmark, contamination_item, contamination DESC, position",
}
WAYS = {
    "exact": mark("exact"),
    "13-gram": mark("13-gram"),
    "8-gram": mark("8-gram"),
    "edited": mark("edited"),
    "embedding": mark("embedding"),
}
"""What found a leak -> what it is called."""
SIDES = {"instruction": mark("instruction"), "response": mark("response")}
LEFT = "contaminated AND decision IS DISTINCT FROM 'drop'"
MARK = '<mark style="background:rgba(255,165,0,.3);color:inherit;padding:0 1px;border-radius:2px">'


def draw(corpus: Corpus) -> None:
    """Draw the contaminated samples beside the questions they hold, with the commands that find and drop them."""
    measured = "contaminated" in corpus.score_columns()
    with st.expander(t("Look for benchmarks"), icon=":material/search:", expanded=not measured):
        _search(corpus)
    if not measured:
        return
    counts = corpus.query(
        f"SELECT count(contaminated) AS looked, count(*) FILTER (contaminated) AS found, count(*) FILTER ({LEFT}) AS "
        "remaining FROM everything"
    ).row(0, named=True)
    cells = st.columns(3)
    cells[0].metric(t("Looked at"), f"{counts['looked']:,}")
    cells[1].metric(t("Contaminated"), f"{counts['found']:,}")
    cells[2].metric(t("Not dropped yet"), f"{counts['remaining']:,}")
    if counts["found"]:
        _found(corpus)


def _search(corpus: Corpus) -> None:
    typed = st.text_input(
        t("Benchmark files"),
        placeholder=t("/data/gsm8k_test.jsonl, /data/humaneval.jsonl"),
        key="leaks_files",
        help=t("JSON, JSONL, Parquet, CSV or text; several with commas between them."),
    )
    files = ",".join(part.strip() for part in (typed or "").split(",") if part.strip())
    argv = ["score", str(corpus.path), "contamination", "--set", f"benchmarks={files or 'FILE'}"]
    reason = None if files else t("Name a file with the questions that must not be trained on.")
    forms.command_box(corpus, argv, key="leaks_score", label=t("Look for them"), disabled_reason=reason)


def _found(corpus: Corpus) -> None:
    benchmarks = corpus.query(
        "SELECT contamination_benchmark AS b FROM everything WHERE contaminated GROUP BY 1 ORDER BY count(*) DESC, 1"
    )["b"].to_list()
    cells = st.columns([2, 2, 3], vertical_alignment="bottom")
    benchmark = cells[0].selectbox(
        t("Benchmark"), [None, *benchmarks], format_func=lambda b: b or t("All"), key="leaks_of"
    )
    order = cells[1].selectbox(t("Sort"), list(ORDERS), format_func=lambda name: t(name), key="leaks_order")
    dropped = cells[2].toggle(t("Show dropped ones too"), key="leaks_dropped")
    rows = leaks_of(corpus, benchmark, order or "", with_dropped=dropped)
    if rows.is_empty():
        st.caption(t("None of them is left."))
    else:
        _pairs(corpus, rows, f"{benchmark}_{order}_{rows.height}")
    _drop(corpus, benchmark)


def leaks_of(corpus: Corpus, benchmark: str | None, order: str, *, with_dropped: bool = False) -> pl.DataFrame:
    """The contaminated samples: id, contamination, way, benchmark, item, span, text (of the benchmark), similarity."""
    measured = "contamination_similarity" in corpus.score_columns()
    return corpus.query(
        f"""SELECT id, contamination AS overlap, contamination_way AS way, contamination_benchmark AS benchmark,
            contamination_item AS item, contamination_span AS span, contamination_text AS text,
            {"contamination_similarity" if measured else "NULL::DOUBLE"} AS similarity
        FROM everything WHERE {"contaminated" if with_dropped else LEFT} AND (? IS NULL OR contamination_benchmark = ?)
        ORDER BY {ORDERS.get(order, "position")} LIMIT {ROWS}""",
        benchmark,
        benchmark,
    )


def _pairs(corpus: Corpus, rows: pl.DataFrame, key: str) -> None:
    import polars as pl

    ways = [t(WAYS[way]) if way in WAYS else way for way in rows["way"]]
    state = st.dataframe(
        rows.with_columns(way=pl.Series(ways, dtype=pl.String)),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        height="content" if rows.height <= 8 else 320,
        key=f"leaks_{key}",
        column_order=["overlap", "way", "benchmark", "item", "span", "text"],
        column_config={
            "overlap": st.column_config.NumberColumn(
                t("Overlap"), format="percent", width=70, help=t("Share of the question that the sample repeats")
            ),
            "way": st.column_config.TextColumn(t("Found as"), width=80),
            "benchmark": st.column_config.TextColumn(t("Benchmark"), width=130),
            "item": st.column_config.NumberColumn(t("Row"), width=56, format="localized"),
            "span": st.column_config.TextColumn(t("Longest passage"), width=280),
            "text": st.column_config.TextColumn(t("Question"), width=280),
        },
        alt=t("Contaminated samples with the benchmark's question and the longest passage both have"),
    )
    if rows.height == ROWS:
        st.caption(t("The first {n:,} are shown.", n=ROWS))
    _side_by_side(corpus, rows.row(forms.chosen_row(state, rows.height) or 0, named=True))


def _side_by_side(corpus: Corpus, leak: dict[str, Any]) -> None:
    side, text, spans, its_spans = matched(corpus, leak["id"], leak["text"])
    sample, question = st.columns(2, gap="medium")
    with sample, st.container(border=True, height="stretch"):
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            st.markdown(f"**{t('Sample')}**: {t(SIDES[side])}")
            forms.link("browse", t("Read it"), icon=":material/arrow_forward:", query={"sample": leak["id"]})
        st.html(marked(text, spans))
    with question, st.container(border=True, height="stretch"):
        where = t("{benchmark}, row {row:,}", benchmark=leak["benchmark"], row=leak["item"])
        st.markdown(f"**{t('Benchmark')}**: {forms.plain(where)}")
        st.html(marked(leak["text"], its_spans))
    if leak["way"] == "embedding":
        st.caption(
            t(
                "Their embeddings have a cosine of {cosine:.2f}; they need not share a passage.",
                cosine=leak["similarity"],
            )
        )


Spans = Sequence[tuple[int, int]]


def matched(corpus: Corpus, sample_id: str, question: str) -> tuple[str, str, Spans, Spans]:
    """The side of the sample that shares most with the question: its name, its text, what is marked in both."""
    from curation.texts.overlap import common_passages

    sample = corpus.sample(sample_id)
    shared = [
        (side, text, *common_passages(text, question))
        for side, text in (("instruction", sample.instruction), ("response", sample.response))
    ]
    return max(shared, key=lambda found: sum(end - start for start, end in found[3]))


def marked(text: str, spans: Spans) -> str:
    """The text as HTML with its passages marked; whatever it holds is shown as it stands, never read as HTML."""
    parts, at = [], 0
    for start, end in spans:
        if end > LONGEST:
            break
        parts += [html.escape(text[at:start]), MARK, html.escape(text[start:end]), "</mark>"]
        at = end
    parts.append(html.escape(text[at:LONGEST]))
    if len(text) > LONGEST:
        parts.append(html.escape(t("… ({n:,} more characters)", n=len(text) - LONGEST)))
    return f'<div style="white-space:pre-wrap;overflow-wrap:anywhere">{"".join(parts)}</div>'


def _drop(corpus: Corpus, benchmark: str | None) -> None:
    where = (
        "contaminated AND decision IS NULL"
        if benchmark is None
        else f"contaminated AND decision IS NULL AND contamination_benchmark = {forms.literal(benchmark)}"
    )
    left = corpus.count(f"({where}) AND decision IS DISTINCT FROM 'drop'")
    argv = ["drop", str(corpus.path), "--where", where, "--reason", "leaked benchmark question"]
    nothing = None if left else t("There is none left to drop.")
    forms.command_box(corpus, argv, key="leaks_drop", label=t("Drop them"), disabled_reason=nothing, rows=left)

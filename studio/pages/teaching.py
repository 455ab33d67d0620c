"""Teaching a classifier: label the samples it is least sure of, and see how well it does on what it did not see."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import WinnowError
from studio import forms, plots
from studio.door import access
from studio.languages import mark, t, told_text
from studio.pages import reading

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus
    from curation.scorers.classifier import Classifier, Taught
    from curation.texts.linear_head import HeldOut

SHOWN = {
    "border": mark("Least sure"),
    "good": mark("Probably good"),
    "bad": mark("Probably bad"),
    "any": mark("Any"),
}
"""Which sample comes next."""
HEIGHT = 420
"""Of the sample, in pixels: the buttons stay above the fold."""


@dataclass(frozen=True)
class Lesson:
    """The samples one can label, and what the classifier makes of their labels so far."""

    frame: pl.DataFrame
    """id, instruction, tags, vector."""
    taught: Taught


def draw(corpus: Corpus) -> None:
    """Draw the part of a page in which a classifier is taught: a sample, buttons, and the head's held-out numbers."""
    from curation.vectors import embeddings

    known = embeddings(corpus)
    if not known:
        forms.empty_state(
            t("Teach a classifier here"),
            t("It judges samples by their vectors, and no embedding is stored yet."),
            ["embed", str(corpus.path)],
        )
        return
    with st.expander(t("What is taught"), icon=":material/tune:"):
        classifier = _classifier([about["name"] for about in known])
    if classifier is None:
        return
    try:
        lesson = _lesson(corpus, classifier)
    except WinnowError as error:
        forms.show_error(error)
        return
    left, right = st.columns([11, 9], gap="large")
    with left:
        _ask(corpus, classifier, lesson)
    with right:
        _learned(corpus, classifier, lesson, known[-1]["name"])


def _classifier(names: list[str]) -> Classifier | None:
    from curation.scorers.classifier import Classifier

    cells = st.columns(4)
    concept = cells[0].text_input(
        t("Concept"), "classifier", key="teach_concept", help=t("What its columns are called: a-z, 0-9, _")
    )
    positive = cells[1].text_input(t("Tag of the positives"), "good", key="teach_positive")
    negative = cells[2].text_input(t("Tag of the negatives"), "bad", key="teach_negative")
    embedding = cells[3].selectbox(t("Embedding"), names, index=len(names) - 1, key="teach_embedding")
    if not positive.strip() or not negative.strip() or positive.strip() == negative.strip():
        st.warning(t("Give two different tags."))
        return None
    try:
        return Classifier(
            concept=concept.strip(), positive=positive.strip(), negative=negative.strip(), embedding=embedding
        )
    except ValueError:
        st.warning(t("A concept begins with a letter, and has small letters, digits and _ only."))
        return None


# -------------------------------------------------------------------- what was learned so far


def _lesson(corpus: Corpus, classifier: Classifier) -> Lesson:
    """Train anew where a label, a sample or the form has changed; else what is kept in the session."""
    labels = corpus.query(
        "SELECT id, tags FROM everything WHERE list_has_any(tags, [?, ?]) AND decision IS DISTINCT FROM 'drop' "
        "ORDER BY id",
        classifier.positive,
        classifier.negative,
    )
    content = f"{corpus.path} {classifier.spec_json()} {corpus.count()} {labels.rows()}"
    key = hashlib.sha256(content.encode()).hexdigest()
    kept = st.session_state.get("teach_lesson")
    if kept is None or kept[0] != key:
        kept = key, lesson(corpus, classifier)
        st.session_state["teach_lesson"] = kept
    return kept[1]


def lesson(corpus: Corpus, classifier: Classifier) -> Lesson:
    """Train a classifier on the labels in the corpus, as `winnow score` would, and judge every sample.

    Raises:
        CorpusError: the embedding does not exist.
    """
    import numpy as np
    import polars as pl

    from curation.scorers.classifier import train
    from curation.storage.sql import working
    from curation.vectors import vectors_of

    vectors = vectors_of(corpus, classifier.embedding)
    place = pl.DataFrame({"id": vectors.ids, "place": np.arange(len(vectors.ids))})
    frame = corpus.frame(["id", "instruction", "tags"], where=working(None))
    frame = frame.join(place, on="id", how="inner", maintain_order="left")
    matrix = np.asarray(vectors.matrix[frame["place"].to_numpy()], np.float32)
    column = pl.Series("vector", matrix, dtype=pl.Array(pl.Float32, matrix.shape[1]))
    frame = frame.drop("place").with_columns(column)
    return Lesson(frame, train(frame, classifier))


# -------------------------------------------------------------------- the sample to label


def next_sample(lesson: Lesson, classifier: Classifier, shown: str, skipped: set[str]) -> tuple[str, float] | None:
    """The id of an unlabelled sample to look at, and the head's probability (NaN without one); null where none is left.

    Args:
        lesson: with the head's judgements.
        classifier: whose tags say what is labelled.
        shown: a key of `SHOWN`; without a head any sample comes.
        skipped: ids not to show.
    """
    import numpy as np
    import polars as pl

    tags = pl.col("tags").list
    labelled = (tags.contains(classifier.positive) | tags.contains(classifier.negative)).fill_null(False)
    free = ~(lesson.frame.select(labelled | pl.col("id").is_in(list(skipped))).to_series().to_numpy())
    if not free.any():
        return None
    judged = lesson.taught.probabilities
    # Drawn with a seed, so that ties and samples that nobody has judged come in no order of their own.
    order = np.random.default_rng(0).random(len(free))
    if lesson.taught.head is not None and shown != "any":
        order = {"border": np.abs(judged - 0.5), "good": -judged, "bad": judged}[shown]
    row = int(np.flatnonzero(free)[np.argmin(order[free])])
    return lesson.frame["id"][row], float(judged[row])


def _ask(corpus: Corpus, classifier: Classifier, lesson: Lesson) -> None:
    shown = st.segmented_control(
        t("Next sample"),
        list(SHOWN),
        format_func=lambda key: t(SHOWN[key]),
        default="border",
        required=True,
        key="teach_shown",
        disabled=lesson.taught.head is None,
    )
    skipped: set[str] = st.session_state.setdefault("teach_skipped", set())
    found = next_sample(lesson, classifier, shown or "border", skipped)
    if found is None:
        st.info(t("Every sample that has a vector is labelled or skipped."))
        return
    sample_id, probability = found
    with st.container(horizontal=True, vertical_alignment="center"):
        for name, label, tag, icon in (
            ("good", t("Good sample"), classifier.positive, "thumb_up"),
            ("bad", t("Bad sample"), classifier.negative, "thumb_down"),
        ):
            st.button(
                label,
                key=f"teach-{name}",
                icon=f":material/{icon}:",
                disabled=not access.may_edit(),
                help=access.refused() or t("Tag it {tag}", tag=forms.plain(tag)),
                on_click=_label,
                args=(corpus, sample_id, tag),
            )
        st.button(t("Skip"), key="teach-skip", icon=":material/skip_next:", on_click=skipped.add, args=(sample_id,))
        last = st.session_state.get("teach_last")
        if last:
            st.button(
                t("Take back"),
                key="teach-back",
                icon=":material/undo:",
                disabled=not access.may_edit(),
                help=access.refused() or t("Take the last label, {tag}, away", tag=forms.plain(last[1])),
                on_click=_take_back,
                args=(corpus,),
            )
    problem = st.session_state.pop("teach_problem", None)
    if problem is not None:
        forms.show_error(problem)
    if lesson.taught.head is not None:
        st.caption(
            t(
                "Probability of {tag}: **{probability:.2f}**",
                tag=forms.plain(classifier.positive),
                probability=probability,
            )
        )
    with st.container(height=HEIGHT, border=True):
        reading.turns(corpus.sample(sample_id))


def _label(corpus: Corpus, sample_id: str, name: str) -> None:
    from curation.deciding import tag

    try:
        access.require_editor()
        tag(corpus, name, ids=[sample_id], note="taught to the classifier")
        st.session_state["teach_last"] = (sample_id, name)
    except WinnowError as error:
        st.session_state["teach_problem"] = error


def _take_back(corpus: Corpus) -> None:
    from curation.deciding import untag

    sample_id, name = st.session_state.pop("teach_last")
    try:
        access.require_editor()
        untag(corpus, name, ids=[sample_id])
    except WinnowError as error:
        st.session_state["teach_problem"] = error


# -------------------------------------------------------------------- how good it is


def _learned(corpus: Corpus, classifier: Classifier, lesson: Lesson, latest: str) -> None:
    taught = lesson.taught
    numbers = st.columns(3)
    numbers[0].metric(t("Tagged {tag}", tag=forms.plain(classifier.positive)), f"{taught.positives:,}")
    numbers[1].metric(t("Tagged {tag}", tag=forms.plain(classifier.negative)), f"{taught.negatives:,}")
    numbers[2].metric(
        t("Drawn"), f"{taught.drawn:,}", help=t("Unlabelled samples that count as negatives: too few are tagged.")
    )
    if taught.head is None:
        problem = told_text(taught.problem or "")
        st.info(forms.plain(problem[:1].upper() + problem[1:]))
    else:
        _held_out(taught.head.held_out, taught.probabilities)
    forms.command_box(
        corpus,
        command(corpus, classifier, latest),
        key="teach-score",
        label=t("Score all samples"),
        disabled_reason=None if taught.head else t("Too few labels yet."),
        rows=lesson.frame.height,
    )


def command(corpus: Corpus, classifier: Classifier, latest: str) -> list[str]:
    """The command that scores the corpus with this classifier; defaults, and the latest embedding, are left out."""
    changed = classifier.model_dump(exclude_defaults=True)
    if changed.get("embedding") == latest:
        del changed["embedding"]
    options = [part for name, value in changed.items() for part in ("--set", f"{name}={value}")]
    return ["score", str(corpus.path), classifier.name, *options]


def _held_out(held_out: HeldOut, probabilities: Any) -> None:
    st.caption(t("Held out: labels that the head did not see, by cross-validation in which no instruction is parted."))
    threshold = st.slider(t("Good from a probability of"), 0.05, 0.95, 0.5, 0.05, key="teach_threshold")
    agreement = held_out.at(threshold)
    numbers = st.columns(3)
    numbers[0].metric("F1", f"{agreement.f1:.2f}")
    numbers[1].metric(t("Precision"), t("none") if agreement.precision is None else f"{agreement.precision:.2f}")
    numbers[2].metric(t("Recall"), f"{agreement.recall:.2f}")
    error = held_out.calibration_error
    plots.draw(
        _calibration(held_out),
        _bins(held_out),
        name="calibration",
        alt=t("Share of good samples by probability; expected calibration error {error:.2f}", error=error),
    )
    kept = int((probabilities >= threshold - 1e-9).sum())
    st.caption(
        t(
            "Expected calibration error **{error:.2f}** on {labels:,} labels. {kept:,} of {n:,} samples reach the "
            "threshold.",
            error=error,
            labels=len(held_out.labels),
            kept=kept,
            n=len(probabilities),
        )
    )


def _bins(held_out: HeldOut) -> pl.DataFrame:
    import polars as pl

    rows = [(b.said, b.found, b.samples) for b in held_out.calibration()]
    return pl.DataFrame(rows, schema={"said": pl.Float64, "found": pl.Float64, "labels": pl.Int64}, orient="row")


def _calibration(held_out: HeldOut) -> Any:
    import altair as alt
    import polars as pl

    bins = _bins(held_out)
    share = alt.Scale(domain=[0, 1])
    points = (
        alt.Chart(bins)
        .mark_circle(opacity=0.9)
        .encode(
            x=alt.X("said:Q", title=t("probability"), scale=share),
            y=alt.Y("found:Q", title=t("share that is good"), scale=share),
            size=alt.Size("labels:Q", legend=None, scale=alt.Scale(range=[40, 400])),
            tooltip=[
                alt.Tooltip("said:Q", title=t("probability"), format=".2f"),
                alt.Tooltip("found:Q", title=t("share that is good"), format=".2f"),
                alt.Tooltip("labels:Q", title=t("labels")),
            ],
        )
    )
    line = alt.Chart(pl.DataFrame({"said": [0.0, 1.0], "found": [0.0, 1.0]})).mark_line(
        strokeDash=[4, 3], color="#E0712B"
    )
    return alt.layer(line.encode(x="said:Q", y="found:Q"), points).properties(height=220)

"""The Train page: fine-tune a base model on a mix in one click, and follow the run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from curation.errors import WinnowError
from curation.names import checked_name
from studio import forms
from studio.door import workspace
from studio.languages import mark, t, told
from studio.pages import runs, train_presets
from studio.pages.score import has_warm_up
from studio.pages.train_advice import advice_box
from studio.pages.train_form import adapter_choice, settings

if TYPE_CHECKING:
    from curation.corpus import Corpus
    from training.config import TrainConfig

WARM_UP, ANOTHER = "warm-up model", "another model"
BASES = {WARM_UP: mark("Warm-up model (default)"), ANOTHER: mark("Another model")}


def page() -> None:
    """Draw the page. While a run trains it comes first."""
    corpus = forms.current_corpus()
    st.title(t("Train"))
    st.caption(t("Fine-tune a base model on an exported mix; the run goes on when this page is closed."))
    mixes, live = mix_folders(corpus), runs.any_live(corpus)
    if live:
        runs.section(corpus)
        st.subheader(t("Train another"))
    if not mixes:
        forms.empty_state(
            t("Training runs appear here"),
            t("Training reads an exported mix, and there is none yet: make one on the Mix page."),
            "mix",
        )
    else:
        # What is typed in the form does not draw the curves of the runs again.
        st.fragment(_train)(corpus, mixes, live)
    if not live:
        runs.section(corpus)


def mix_folders(corpus: Corpus) -> list[Path]:
    """Folders of the exported mixes of this corpus, the latest first."""
    found = (corpus.path / "mixes").glob("*/train.jsonl")
    return [p.parent for p in sorted(found, key=lambda p: -p.stat().st_mtime)]


def _train(corpus: Corpus, mixes: list[Path], live: bool) -> None:
    if runs.any_live(corpus) and not live:
        st.rerun()
    form, beside = st.columns([3, 2], gap="large")
    earlier = corpus.path / "runs"
    with form:
        mix, method = _mix_and_method(mixes)
        unfit = _unfit(mix, method)
        base, reason = _base_model(corpus)
        known = None if unfit or reason else train_presets.known(mix, base, method, earlier)
        adapter_key = train_presets.choice(known, mix, base, method)
        with st.expander(t("All settings"), icon=":material/tune:"):
            adapter = adapter_choice(base, adapter_key)
            options = settings(method, adapter)
        usual, config, wrong = suggested(mix, base, method, adapter, options)
        typed = st.text_input(
            t("Name of the run"),
            placeholder=usual,
            key="train_run",
            help=t("Empty: the suggested name."),
            max_chars=120,
        )
    name = typed.strip() or usual
    argv = ["train", str(mix), "--base-model", base, "--method", method, "--adapter", adapter, "--run", name, *options]
    with beside:
        _same_name(corpus, name)
        if wrong is not None:
            forms.show_error(wrong)
        first = reason == _no_warm_up() and not unfit
        if first:
            _warm_up(corpus)
        reason = unfit or reason or (told(wrong)[0] if wrong else None) or _wrong_name(name)
        forms.command_box(corpus, argv, key="train", label=t("Train"), disabled_reason=reason, primary=not first)
        if config is not None and not unfit and reason is None:
            advice_box(mix, config, earlier, adapter_key=adapter_key)


def _warm_up(corpus: Corpus) -> None:
    st.caption(t("First the small model, once for this corpus; then training on it."))
    budget = st.number_input(
        t("Tokens to train on"),
        10_000,
        20_000_000,
        600_000,
        100_000,
        key="warm_up_tokens",
        help=t("Of the corpus: more make a better small model and take longer."),
    )
    argv = ["warm-up", str(corpus.path), *(["--set", f"token_budget={budget}"] if budget != 600_000 else [])]
    forms.command_box(corpus, argv, key="train_warm_up", label=t("Train the warm-up model"))


def _same_name(corpus: Corpus, name: str) -> None:
    folder = corpus.path / "runs" / name
    if "/" not in name and folder.exists() and not runs.is_live(corpus, folder):
        st.caption(
            t(
                "A run {name} is there already: with the same settings it goes on where it stopped; other settings "
                "need another name.",
                name=forms.plain(name),
            )
        )


def _wrong_name(name: str) -> str | None:
    try:
        checked_name("run", name)
    except WinnowError as error:
        return " ".join(told(error))
    return None


def _mix_and_method(mixes: list[Path]) -> tuple[Path, str]:
    from training.methods import METHODS

    mix_cell, method_cell = st.columns(2)
    names = [mix.name for mix in mixes]
    asked = st.query_params.get("mix")
    mix = mix_cell.selectbox(
        t("Mix"),
        mixes,
        index=names.index(asked) if asked in names else 0,
        format_func=lambda p: p.name,
        key=f"train_mix_{len(mixes)}_{names[0]}",
        help=t("An exported mix: the folder that training reads."),
    )
    if asked is not None or mix != mixes[0]:
        st.query_params["mix"] = mix.name
    _fitting_method(mix)
    titles = {method.name: method.title for method in METHODS}
    method = method_cell.selectbox(
        t("Method"), list(titles), format_func=lambda m: t(titles[m]), key="train_method", help=t("How the mix trains.")
    )
    return mix, method


def _fitting_method(mix: Path) -> None:
    """Another mix brings the first method that takes its format."""
    from training.data.mix_folder import MixFolder
    from training.methods import METHODS

    state = st.session_state
    if state.get("train_method_for") == mix.name and "train_method" in state:
        return
    try:
        written_as = MixFolder(mix).format
    except WinnowError:  # said beside the button
        return
    takes = [method for method in METHODS if written_as in method.formats]
    # A mix of preferences can be imitated as well, but it was made to be preferred.
    fitting = [method.name for method in sorted(takes, key=lambda method: method.formats[0] != written_as)]
    if fitting and state.get("train_method") not in fitting:
        state["train_method"] = fitting[0]
    state["train_method_for"] = mix.name


def suggested(
    mix: Path, base: str, method: str, adapter: str, options: list[str]
) -> tuple[str, TrainConfig | None, WinnowError | None]:
    """The name the command would choose, the config, and what is wrong with the settings."""
    from studio.runs import prepared
    from training.methods.adapters import check
    from training.methods.settings import check_settings

    given = dict(option.split("=", 1) for option in options if option != "--set")
    try:
        config, run = prepared(mix, base, method, adapter, None, given)
    except WinnowError as error:
        return mix.name, None, error
    try:
        check(config)
        check_settings(config)
    except WinnowError as error:
        return run.name, config, error
    return run.name, config, None


def _no_warm_up() -> str:
    return t("Train the warm-up model first, here or on the Score page, or name another model.")


def _base_model(corpus: Corpus) -> tuple[str, str | None]:
    """The base model as the command takes it, and why it can't be used yet."""
    from curation.language_models.answer_losses import WARM_UP_FOLDER

    choice = st.segmented_control(
        t("Base model"),
        list(BASES),
        default=WARM_UP,
        required=True,
        key="train_base",
        format_func=lambda b: t(BASES[b]),
    )
    if choice == ANOTHER:
        path = st.text_input(
            t("Model folder or hub name"), placeholder="Qwen/Qwen3-0.6B", key="train_base_path"
        ).strip()
        if not path:
            return "MODEL", t("Name the base model.")
        try:
            workspace.check_text(path)
        except WinnowError as error:
            return "MODEL", " ".join(told(error))
        return path, None
    st.caption(
        t(
            "The small model that warm-up trains on this corpus: good to try the loop on a CPU in a minute, too small "
            "to be useful. For a model to keep, name a pretrained one."
        )
    )
    return str(corpus.path / WARM_UP_FOLDER), None if has_warm_up(corpus) else _no_warm_up()


def _unfit(mix: Path, method: str) -> str | None:
    """Why this mix can't be trained on by this method."""
    from training.data.mix_folder import MixFolder
    from training.methods import method_named

    try:
        written_as = MixFolder(mix).format
    except WinnowError as error:
        return told(error)[0]
    takes = method_named(method).formats
    if written_as not in takes:
        return t(
            "This method needs a mix exported with the format {formats}; this one is {format}.",
            formats=" / ".join(takes),
            format=written_as,
        )
    return None

"""The Train page: fine-tune a base model on a mix in one click, and follow the run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from curation.errors import WinnowError
from studio import forms
from studio.pages import runs
from studio.pages.score import has_warm_up
from studio.pages.train_advice import advice_box
from studio.pages.train_form import ADAPTERS, settings

if TYPE_CHECKING:
    from curation.corpus import Corpus
    from training.config import TrainConfig

WARM_UP, ANOTHER = "warm-up model (default)", "another model"


def page() -> None:
    """Draw the page. While a run trains it comes first."""
    corpus = forms.current_corpus()
    st.title("Train")
    st.caption("Fine-tune a base model on an exported mix; the run goes on when this page is closed.")
    mixes, live = mix_folders(corpus), runs.any_live(corpus)
    if live:
        runs.section(corpus)
        st.subheader("Train another")
    if not mixes:
        forms.empty_state(
            "Training runs appear here",
            "Training reads an exported mix, and there is none yet: make one on the Mix page.",
            "mix",
        )
    else:
        _train(corpus, mixes)
    if not live:
        runs.section(corpus)


def mix_folders(corpus: Corpus) -> list[Path]:
    """Folders of the exported mixes of this corpus, the latest first."""
    found = (corpus.path / "mixes").glob("*/train.jsonl")
    return [p.parent for p in sorted(found, key=lambda p: -p.stat().st_mtime)]


def _train(corpus: Corpus, mixes: list[Path]) -> None:
    form, beside = st.columns([3, 2], gap="large")
    with form:
        mix, method = _mix_and_method(mixes)
        base, reason = _base_model(corpus)
        adapter, adapter_key = _adapter(base)
        options = settings(method, adapter)
        usual, config, wrong = suggested(mix, base, method, adapter, options)
        typed = st.text_input("Name of the run", placeholder=usual, key="train_run", help="Empty: the suggested name.")
    with beside:
        name = typed.strip() or usual
        argv = ["train", str(mix), "--base-model", base, "--method", method, "--adapter", adapter, "--run", name]
        folder = corpus.path / "runs" / name
        if folder.exists() and not runs.is_live(corpus, folder):
            st.caption(
                f"A run {forms.plain(name)} is there already: with the same settings it goes on where it "
                "stopped; other settings need another name."
            )
        if wrong is not None:
            forms.show_error(wrong)
        reason = reason or _unfit(mix, method) or (wrong.message if wrong else None)
        forms.command_box(corpus, [*argv, *options], key="train", label="Train", disabled_reason=reason)
        if config is not None and not _unfit(mix, method):
            advice_box(mix, config, corpus.path / "runs", adapter_key=adapter_key)


def _mix_and_method(mixes: list[Path]) -> tuple[Path, str]:
    from training.methods import METHODS

    mix_cell, method_cell = st.columns(2)
    mix = mix_cell.selectbox("Mix", mixes, format_func=lambda p: p.name, key=f"train_mix_{len(mixes)}_{mixes[0].name}")
    titles = {method.name: method.title for method in METHODS}
    method = method_cell.selectbox("Method", list(titles), format_func=lambda m: titles[m], key="train_method")
    return mix, method


def _adapter(base: str) -> tuple[str, str]:
    """The weights to train, and the widget's key: small models start from all of them, others from LoRA."""
    from curation.language_models.answer_losses import WARM_UP_FOLDER

    small = base.endswith(WARM_UP_FOLDER)
    key = "train_adapter" if small else "train_adapter_other"
    adapter = st.selectbox(
        "Weights to train",
        list(ADAPTERS),
        format_func=lambda a: ADAPTERS[a],
        index=list(ADAPTERS).index("full" if small else "lora"),
        key=key,
        help="All of them, or a small part: large models need that.",
    )
    return adapter, key


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


def _base_model(corpus: Corpus) -> tuple[str, str | None]:
    """The base model as the command takes it, and why it can't be used yet."""
    from curation.language_models.answer_losses import WARM_UP_FOLDER

    choice = st.segmented_control("Base model", [WARM_UP, ANOTHER], default=WARM_UP, required=True, key="train_base")
    if choice == ANOTHER:
        path = st.text_input("Model folder or hub name", placeholder="Qwen/Qwen3-0.6B", key="train_base_path").strip()
        return path or "MODEL", None if path else "Name the base model."
    st.caption(
        "The small model that warm-up trains on this corpus: good to try the loop on a CPU in a minute, too small to "
        "be useful. For a model to keep, name a pretrained one."
    )
    folder = str(corpus.path / WARM_UP_FOLDER)
    return folder, None if has_warm_up(
        corpus
    ) else "Train the warm-up model on the Score page first, or name another model."


def _unfit(mix: Path, method: str) -> str | None:
    """Why this mix can't be trained on by this method."""
    from training.data.mix_folder import MixFolder
    from training.methods import method_named

    try:
        written_as = MixFolder(mix).format
    except WinnowError as error:
        return error.message
    takes = method_named(method).formats
    if written_as not in takes:
        return f"This method needs a mix exported with the format {' or '.join(takes)}; this one is {written_as}."
    return None

"""The Train page: fine-tune a base model on a mix in one click, and follow the run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from curation.errors import WinnowError
from studio import forms
from studio.fields import setting
from studio.pages import runs
from studio.pages.score import has_warm_up

if TYPE_CHECKING:
    from curation.corpus import Corpus

ADAPTERS = {"lora": "LoRA", "full": "All weights"}
SHOWN = ("epochs", "max_steps", "learning_rate", "max_length", "batch_size", "seed")
"""Fields of the training config that most users set; the others fold away."""
OWN_WIDGETS = ("base_model", "method", "adapter", "arm")


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title("Train")
    st.caption("Fine-tune a base model on an exported mix; the run goes on when this page is closed.")
    mixes = mix_folders(corpus)
    if not mixes:
        forms.empty_state(
            "Training runs appear here",
            "Training reads an exported mix, and there is none yet: make one on the Mix page.",
            "mix",
        )
    else:
        _train(corpus, mixes)
    runs.section(corpus)


def mix_folders(corpus: Corpus) -> list[Path]:
    """Folders of the exported mixes of this corpus, the latest first."""
    found = (corpus.path / "mixes").glob("*/train.jsonl")
    return [p.parent for p in sorted(found, key=lambda p: -p.stat().st_mtime)]


def _train(corpus: Corpus, mixes: list[Path]) -> None:
    from training.methods import METHODS

    form, command = st.columns([3, 2], gap="large")
    with form:
        mix_cell, method_cell = st.columns(2)
        mix = mix_cell.selectbox(
            "Mix", mixes, format_func=lambda p: p.name, key=f"train_mix_{len(mixes)}_{mixes[0].name}"
        )
        titles = {method.name: method.title for method in METHODS}
        method = method_cell.selectbox("Method", list(titles), format_func=lambda m: titles[m], key="train_method")
        base, reason = _base_model(corpus)
        adapter = st.segmented_control(
            "Weights to train",
            list(ADAPTERS),
            format_func=lambda a: ADAPTERS[a],
            default="full",
            required=True,
            key="train_adapter",
            help="Every weight, or small matrices beside them (LoRA), which large models need.",
        )
        options = _settings(method, adapter or "full")
        suggested, wrong = _suggested(mix, base, method, adapter or "full", options)
        typed = st.text_input(
            "Name of the run", placeholder=suggested, key="train_run", help="Empty: the suggested name."
        )
    with command:
        name = typed.strip() or suggested
        argv = [
            "train",
            str(mix),
            "--base-model",
            base,
            "--method",
            method,
            "--adapter",
            adapter or "full",
            "--run",
            name,
        ]
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


def _suggested(mix: Path, base: str, method: str, adapter: str, options: list[str]) -> tuple[str, WinnowError | None]:
    """The name the command would choose, and what is wrong with the settings."""
    from studio.runs import prepared

    settings = dict(option.split("=", 1) for option in options if option != "--set")
    try:
        return prepared(mix, base, method, adapter, None, settings)[1].name, None
    except WinnowError as error:
        return mix.name, error


def _base_model(corpus: Corpus) -> tuple[str, str | None]:
    """The base model as the command takes it, and why it can't be used yet."""
    from curation.language_models.answer_losses import WARM_UP_FOLDER

    choice = st.segmented_control(
        "Base model",
        ["warm-up model (default)", "another model"],
        default="warm-up model (default)",
        required=True,
        key="train_base",
    )
    if choice == "another model":
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


def _settings(method: str, adapter: str) -> list[str]:
    from training.config import TrainConfig
    from training.methods import METHODS, method_named
    from training.methods.adapters import READS

    of_methods = frozenset[str]().union(*(other.reads for other in METHODS)) - method_named(method).reads
    unused = {*OWN_WIDGETS, *of_methods, *(frozenset[str]().union(*READS.values()) - READS[adapter])}
    options = []
    cells = st.columns(3)
    for place, name in enumerate(SHOWN):
        with cells[place % 3]:
            options += _learning_rate() if name == "learning_rate" else setting(TrainConfig, name, key="train")
    with st.expander("More settings"):
        rest = [name for name in TrainConfig.model_fields if name not in unused and name not in SHOWN]
        cells = st.columns(3)
        for place, name in enumerate(rest):
            with cells[place % 3]:
                options += setting(TrainConfig, name, key="train")
    return options


def _learning_rate() -> list[str]:
    """As text: rates such as 5e-7 have no step a number widget could take."""
    from training.config import TrainConfig

    field = TrainConfig.model_fields["learning_rate"]
    typed = st.text_input("Learning rate", placeholder="automatic", help=field.description, key="train-learning_rate")
    return ["--set", f"learning_rate={typed.strip()}"] if typed.strip() else []


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

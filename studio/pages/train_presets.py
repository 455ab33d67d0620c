"""Presets of the Train page: settings that work for this mix, this model and this machine without a choice made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import WinnowError
from studio.languages import mark, t
from studio.pages.train_advice import advice_of

if TYPE_CHECKING:
    from training.advice.advising import Advice

PRESETS = {
    "suggested": mark("Suggested"),
    "quick": mark("Quick try"),
    "own": mark("Own settings"),
}
TOLD = {
    "suggested": mark("What the length of the samples, the size of the model and this machine suggest."),
    "quick": mark("As suggested, but stopped after {steps:,} steps: it shows in a minute or two that all of it works."),
    "own": mark("Whatever stands under All settings."),
}
KEY, FILLED = "train_preset", "train_filled"
LONG = 15 * 60
"""Seconds of a suggested run from which a quick try comes first."""
QUICK_SECONDS = 90
FEWEST_STEPS, MOST_STEPS = 10, 100
"""Of a quick try."""
TOUCHED = (
    "epochs", "max_steps", "max_length", "batch_size", "accumulation", "eval_steps", "patience", "reward_margin",
    "activation_checkpointing",
)  # fmt: skip
"""Fields that a preset sets, or sets back."""


def known(mix: Path, base: str, method: str, runs: Path) -> Advice | None:
    """What is known of a run with default settings; null where nothing is known of the model without a download."""
    from studio.runs import prepared

    if not (Path(base).expanduser() / "config.json").is_file():
        return None
    try:
        return advice_of(mix, prepared(mix, base, method, None, None, {})[0], runs)
    except WinnowError:  # said where the run is started
        return None


def choice(told: Advice | None, mix: Path, base: str, method: str) -> str:
    """Draw the choice, and fill the form when it is a new one; the key of the widget that chooses the adapter.

    Args:
        told: of the default settings; without it nothing is filled in.
        mix: the folder of the mix.
        base: the base model.
        method: that trains.
    """
    adapter_key = adapter_widget(base)
    state = st.session_state
    if told is None:
        state.pop(FILLED, None)
        return adapter_key
    fresh = KEY not in state
    if fresh:
        state[KEY] = default_preset(told)
    preset = st.segmented_control(
        t("Preset"), list(PRESETS), format_func=lambda p: t(PRESETS[p]), required=True, key=KEY
    )
    preset = preset or "suggested"
    steps = quick_steps(told)
    st.caption(t(TOLD[preset], steps=steps) if preset == "quick" else t(TOLD[preset]))
    filled = (str(mix), base, method, preset)
    if fresh or state.get(FILLED) != filled:
        if preset != "own":
            fill(told, adapter_key, steps if preset == "quick" else None)
        state[FILLED] = filled
    return adapter_key


def adapter_widget(base: str) -> str:
    """Small models start from all of their weights, others from LoRA: each has a widget with its own default."""
    from curation.language_models.answer_losses import WARM_UP_FOLDER

    return "train_adapter" if base.endswith(WARM_UP_FOLDER) else "train_adapter_other"


def default_preset(told: Advice) -> str:
    """A quick try where all of it would take long."""
    return "quick" if told.seconds is not None and told.seconds > LONG else "suggested"


def quick_steps(told: Advice) -> int:
    """Optimizer steps of about a minute and a half."""
    from training.advice.advising import START_SECONDS

    if not told.seconds or not told.steps:
        return FEWEST_STEPS
    pace = max(1e-6, told.seconds - START_SECONDS) / told.steps
    steps = max(FEWEST_STEPS, min(MOST_STEPS, round(QUICK_SECONDS / pace)))
    return min(steps, max(1, told.steps))


def fill(told: Advice, adapter_key: str, steps: int | None) -> None:
    """Set the form's widgets, before they are drawn.

    Args:
        told: of the default settings.
        adapter_key: key of the widget that chooses the adapter.
        steps: of a quick try, which measures held-out losses before and after only.
    """
    from studio.pages.train_advice import take
    from training.config import TrainConfig

    defaults: dict[str, Any] = {name: TrainConfig.model_fields[name].default for name in TOUCHED}
    for name, value in defaults.items():
        st.session_state[f"train_{name}"] = value
    take([suggestion for suggestion in told.suggestions if suggestion.changes], adapter_key)
    if steps is not None:
        st.session_state.update({"train_max_steps": steps, "train_eval_steps": None, "train_patience": None})

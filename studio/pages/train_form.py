"""The settings of the Train page: those that the chosen method and adapter read, and no others."""

from __future__ import annotations

import streamlit as st

from studio.fields import setting
from studio.languages import mark, t

ADAPTERS = {
    "full": mark("All weights"),
    "lora": mark("LoRA: small matrices beside them"),
    "qlora": mark("QLoRA: LoRA on 4-bit weights"),
    "freeze": mark("Some layers"),
    "prompt": mark("Prompt tuning: vectors before the text"),
    "prefix": mark("Prefix tuning: vectors in every layer"),
    "p-tuning": mark("P-tuning: vectors from a small network"),
}
SHOWN = ("epochs", "max_steps", "learning_rate", "max_length", "batch_size", "seed")
"""Fields of the training config that most users set; the others fold away."""
OWN_WIDGETS = ("base_model", "method", "adapter", "arm")
GROUPS: dict[str, tuple[str, ...]] = {
    mark("Steps and learning rate"): (
        *("accumulation", "scheduler", "decay_ratio", "warmup_ratio"),
        *("optimizer", "weight_decay", "max_grad_norm"),
    ),
    mark("Held-out losses, samples and checkpoints"): (
        *("eval_steps", "patience", "sample_answers", "max_answer_tokens"),
        *("save_steps", "checkpoints_kept", "logging_steps"),
    ),
    mark("Machine"): ("activation_checkpointing", "processes", "strategy", "offload"),
}
"""Title -> fields; what is in none of them belongs to the method or the adapter."""


def adapter_choice(base: str, key: str) -> str:
    """The weights to train: small models start from all of them, others from LoRA."""
    from curation.language_models.answer_losses import WARM_UP_FOLDER

    return st.selectbox(
        t("Weights to train"),
        list(ADAPTERS),
        format_func=lambda a: t(ADAPTERS[a]),
        index=list(ADAPTERS).index("full" if base.endswith(WARM_UP_FOLDER) else "lora"),
        key=key,
        help=t("All of them, or a small part: large models need that."),
    )


def settings(method: str, adapter: str) -> list[str]:
    """The widgets, and `--set` options for what was changed."""
    options = []
    cells = st.columns(3)
    for place, name in enumerate(SHOWN):
        with cells[place % 3]:
            options += _widget(name)
    read = [name for name in fields(method, adapter) if name not in SHOWN and _applies(name)]
    grouped = {name for names in GROUPS.values() for name in names}
    own = tuple(name for name in read if name not in grouped)
    for title, names in {mark("Method and adapter"): own, **GROUPS}.items():
        options += _group(title, [name for name in names if name in read])
    return options


def fields(method: str, adapter: str) -> list[str]:
    """The fields of the config that this method and this adapter read, in their order."""
    from training.methods.settings import fields_read

    return [name for name in fields_read(method, adapter) if name not in OWN_WIDGETS]


def _applies(name: str) -> bool:
    from training.methods.settings import ONLY_IF

    if name in ("strategy", "offload"):
        return int(st.session_state.get("train_processes") or 1) > 1
    if name not in ONLY_IF:
        return True
    deciding, values = ONLY_IF[name]
    return st.session_state.get(f"train_{deciding}") in values


def _group(title: str, names: list[str]) -> list[str]:
    if not names:
        return []
    options: list[str] = []
    with st.container(gap="small"):
        st.markdown(f"**{t(title)}**")
        cells = st.columns(3)
        for place, name in enumerate(names):
            with cells[place % 3]:
                options += _widget(name)
    return options


def _widget(name: str) -> list[str]:
    from training.config import TrainConfig

    if name == "learning_rate":
        return _learning_rate()
    if name == "rewards":
        return _rewards()
    return setting(TrainConfig, name, key="train")


def _learning_rate() -> list[str]:
    """As text: rates such as 5e-7 have no step a number widget could take."""
    from training.config import TrainConfig

    field = TrainConfig.model_fields["learning_rate"]
    typed = st.text_input(
        t("Learning rate"),
        placeholder=t("automatic"),
        help=t(field.description) if field.description else None,
        key="train-learning_rate",
    )
    return ["--set", f"learning_rate={typed.strip()}"] if typed.strip() else []


def _rewards() -> list[str]:
    from training.config import TrainConfig
    from training.rewards import REWARDS

    field = TrainConfig.model_fields["rewards"]
    chosen = st.multiselect(
        t("Rewards"),
        list(REWARDS),
        default=list(field.default),
        help=t(field.description) if field.description else None,
        key="train_rewards",
    )
    return [] if tuple(chosen) == tuple(field.default) else ["--set", f"rewards={','.join(chosen)}"]

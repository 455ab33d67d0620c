"""What a run was started with, what it noted, and its folder: from its own files, never from the form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from studio import forms

if TYPE_CHECKING:
    from studio.pages.run_data import RunData

LOG_CHARACTERS = 6_000


def about(data: RunData) -> None:
    """Notes, the config, the folder and the end of the log."""
    told = data.report
    for note in told.notes:
        st.caption(forms.plain(note))
    if told.learning_rate is not None:
        st.caption(forms.plain(f"Learning rate {told.learning_rate:g}: {told.learning_rate_reason}."))
    if told.dropped:
        st.caption(forms.plain("Rows left out: " + "; ".join(f"{why} ({n:,})" for why, n in told.dropped.items())))
    with st.expander("Settings of this run"):
        changed = changed_settings(data.config)
        st.dataframe(
            [{"setting": name, "value": value} for name, value in changed.items()],
            hide_index=True,
            width=640,
            alt="Settings of this run that differ from the defaults",
        )
        st.caption("Settings that are not in the table have their defaults.")
        if told.launch:
            st.caption("Its processes are started by")
            st.code(told.launch, language="bash", wrap_lines=True)
    with st.expander("Folder and log"):
        st.code(str(data.folder), language=None)
        log = data.folder / "log.txt"
        if log.is_file():
            text = log.read_text(encoding="utf-8", errors="replace")[-LOG_CHARACTERS:]
            st.code(text, language=None, height=260)


def changed_settings(config: dict[str, Any]) -> dict[str, str]:
    """Field -> value as text, of what differs from the defaults; model, method and adapter always."""
    from training.config import TrainConfig

    defaults = {name: field.default for name, field in TrainConfig.model_fields.items()}
    always = ("base_model", "method", "adapter")
    names = [*always, *(name for name in config if name not in always and name in defaults)]
    return {
        name: _worded(config[name])
        for name in names
        if name in config and (name in always or _worded(config[name]) != _worded(defaults[name]))
    }


def _worded(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)

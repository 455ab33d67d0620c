"""What a run was started with, what it noted, and its folder: from its own files, never from the form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from studio import forms
from studio.languages import t, tn, told_text

if TYPE_CHECKING:
    from studio.pages.run_data import RunData

LOG_CHARACTERS = 6_000


def about(data: RunData) -> None:
    """Notes, the config, the folder and the end of the log."""
    told = data.report
    for note in told.notes:
        st.caption(forms.plain(told_text(note)))
    if told.learning_rate is not None:
        reason = told_text(told.learning_rate_reason or "")
        st.caption(forms.plain(t("Learning rate {rate:g}: {reason}.", rate=told.learning_rate, reason=reason)))
    for why, n in told.dropped.items():
        left_out = tn("{n} row left out: {reason}", "{n:,} rows left out: {reason}", n, reason=told_text(why))
        st.caption(forms.plain(left_out))
    with st.expander(t("Settings of this run")):
        changed = changed_settings(data.config)
        st.dataframe(
            [{"setting": name, "value": value} for name, value in changed.items()],
            hide_index=True,
            width=640,
            column_config={
                "setting": st.column_config.TextColumn(t("Setting")),
                "value": st.column_config.TextColumn(t("Value")),
            },
            alt=t("Settings of this run that differ from the defaults"),
        )
        st.caption(t("Settings that are not in the table have their defaults."))
        if told.launch:
            st.caption(t("Its processes are started by"))
            st.code(told.launch, language=None, wrap_lines=True)
    with st.expander(t("Folder and log")):
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

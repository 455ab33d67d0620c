"""Widgets made from the fields of pydantic models, and the `--set` options for what the user changed."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

import streamlit as st

from studio.languages import mark, t

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo


UNSET = {"min": mark("no bound"), "max": mark("no bound")}
"""Field -> what it means to leave it empty, where that is not "automatic"."""


def setting(model: type[BaseModel], name: str, *, key: str, choices: Sequence[str] | None = None) -> list[str]:
    """A widget for one field: `["--set", "NAME=VALUE"]` where the value differs from the default, else nothing.

    Args:
        model: whose field it is.
        name: of the field.
        key: prefix of the widget's key.
        choices: values to offer; another one can still be typed.
    """
    field = model.model_fields[name]
    where = f"{key}_{name}"
    value = _choice(field, name, choices, where) if choices else _widget(field, name, where)
    if value in (None, "") and _default(field) not in (None, ""):
        return [] if type(None) not in get_args(field.annotation) else ["--set", f"{name}="]  # switched off
    if value is None or value == "" or value == _default(field):
        return []
    return ["--set", f"{name}={_written(value)}"]


def label_of(name: str) -> str:
    """A field's name as its widget is labelled."""
    return t(name.replace("_", " ").capitalize())


def _help(field: FieldInfo) -> str | None:
    return t(field.description) if field.description else None


def takes_several(model: type[BaseModel], name: str) -> bool:
    """Whether the field's widget is one for several values."""
    return get_origin(_kind(model.model_fields[name].annotation)) in (tuple, list)


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _default(field: FieldInfo) -> Any:
    return None if field.is_required() else field.get_default(call_default_factory=True)


def _kind(annotation: Any) -> Any:
    """The type without `| None`."""
    if get_origin(annotation) in (Union, types.UnionType):
        return next(part for part in get_args(annotation) if part is not type(None))
    return annotation


def _widget(field: FieldInfo, name: str, key: str) -> Any:
    kind, default, help_text, label = _kind(field.annotation), _default(field), _help(field), label_of(name)
    if kind is bool:
        return st.toggle(label, value=bool(default), help=help_text, key=key)
    if get_origin(kind) is Literal:
        choices = list(get_args(kind))
        index = choices.index(default) if default in choices else None
        return st.selectbox(label, choices, index=index, placeholder=t("automatic"), help=help_text, key=key)
    if get_origin(kind) in (tuple, list):
        return _several(kind, label, default, help_text, key)
    if kind in (int, float):
        return _number(field, kind, name, key)
    shown = t("required") if field.is_required() else t("automatic")
    return (st.text_input(label, value=default or "", placeholder=shown, help=help_text, key=key) or "").strip()


def _choice(field: FieldInfo, name: str, choices: Sequence[str], key: str) -> str | None:
    default = _default(field)
    offered = list(dict.fromkeys([*([default] if default else []), *choices]))
    return st.selectbox(
        label_of(name),
        offered,
        index=0 if default else None,
        placeholder=t("choose or type") if field.is_required() else t("automatic"),
        help=_help(field),
        accept_new_options=True,
        key=key,
    )


def _several(kind: Any, label: str, default: Any, help_text: str | None, key: str) -> Any:
    inner = get_args(kind)[0] if get_args(kind) else str
    if get_origin(inner) is Literal:
        chosen = st.multiselect(label, list(get_args(inner)), default=list(default or ()), help=help_text, key=key)
        return type(default)(chosen) if isinstance(default, tuple | list) else chosen
    text = ",".join(map(str, default or ()))
    typed = st.text_input(label, value=text, help=help_text, key=key)
    return default if typed == text else typed


def _number(field: FieldInfo, kind: type, name: str, key: str) -> Any:
    low, high = _bounds(field, kind)
    default = _default(field)
    first_word = name.split("_")[0]  # min_answer_words
    return st.number_input(
        label_of(name),
        min_value=low,
        max_value=high,
        value=None if default is None else kind(default),
        step=1 if kind is int else _step(default),
        format=None if kind is int else _format(default),
        placeholder=t("required") if field.is_required() else t(UNSET.get(first_word, "automatic")),
        help=_help(field),
        key=key,
    )


def _bounds(field: FieldInfo, kind: type) -> tuple[Any, Any]:
    low = high = None
    for bound in field.metadata:
        # A strict bound is left to the model: a widget can only say "at least".
        low = getattr(bound, "ge", getattr(bound, "gt", low))
        high = getattr(bound, "le", getattr(bound, "lt", high))
    return (None if low is None else kind(low)), (None if high is None else kind(high))


def _step(default: Any) -> float:
    return 0.1 if not default or default >= 0.1 else 0.01 if default >= 0.01 else default


def _format(default: Any) -> str | None:
    return "%g" if default is not None and default < 0.01 else None

"""The ways of training: a class each, and the tuple that holds them."""

from __future__ import annotations

from training.methods.dpo import DPO
from training.methods.method import Method
from training.methods.sft import SFT

METHODS: tuple[type[Method], ...] = (SFT, DPO)


def method_named(name: str) -> Method:
    """The method of a config.

    Raises:
        WinnowError: there is none with this name.
    """
    from curation.errors import WinnowError

    for method in METHODS:
        if method.name == name:
            return method()
    names = ", ".join(method.name for method in METHODS)
    raise WinnowError(f"There is no training method {name!r}.", fix=f"choose one of: {names}")

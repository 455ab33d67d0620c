"""New samples from seed samples: Evol-Instruct and distillation, through any chat model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synthesis.distill import Distill
    from synthesis.evol_instruct import EvolInstruct
    from synthesis.synthesizing import SynthesizeReport, synthesize

__all__ = ["Distill", "EvolInstruct", "SynthesizeReport", "synthesize"]

_HOMES = {
    "Distill": "synthesis.distill",
    "EvolInstruct": "synthesis.evol_instruct",
    "SynthesizeReport": "synthesis.synthesizing",
    "synthesize": "synthesis.synthesizing",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that importing the package costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)

"""The synthesizers there are."""

from __future__ import annotations

from synthesis.distill import Distill
from synthesis.evol_instruct import EvolInstruct
from synthesis.synthesizer import Synthesizer

SYNTHESIZERS: tuple[type[Synthesizer], ...] = (EvolInstruct, Distill)

"""The ways of training: a class each, and the tuple that holds them."""

from __future__ import annotations

from training.methods.dpo import DPO
from training.methods.grpo import GRPO
from training.methods.kto import KTO
from training.methods.method import Method
from training.methods.pretrain import Pretrain
from training.methods.reference_free import ORPO, SimPO
from training.methods.reward import Reward
from training.methods.sft import SFT

METHODS: tuple[type[Method], ...] = (SFT, Pretrain, DPO, KTO, ORPO, SimPO, Reward, GRPO)


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

"""Which of the processes that train together this is, and how they agree. With one process all of it does nothing.

`accelerate launch` tells each process its number in `RANK` and how many there are in `WORLD_SIZE`. Only the first one
writes into the run's folder; everything else is done by all of them, in the same order, for weights and gradients may
be spread over them: a process that leaves out a forward pass makes the others wait for ever.
"""

from __future__ import annotations

import functools
import os
from typing import Any


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def processes() -> int:
    """How many there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this is the process that writes."""
    return rank() == 0


def wait() -> None:
    """Until every process is here."""
    if _together():
        import torch

        torch.distributed.barrier(group=_group())


def agreed(asked: bool) -> bool:
    """Whether any of them was asked; to be called by all at the same point."""
    if not _together():
        return asked
    import torch

    flag = torch.tensor([int(asked)])
    torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX, group=_group())
    return bool(flag.item())


def summed(tensor: Any) -> Any:
    """The tensor's sum over all processes, in the same tensor."""
    if _together():
        import torch

        torch.distributed.all_reduce(tensor)
    return tensor


def _together() -> bool:
    if processes() == 1:
        return False
    import torch

    return bool(torch.distributed.is_available() and torch.distributed.is_initialized())


@functools.cache
def _group() -> Any:
    # Over the CPU: a flag that went through the GPUs would make every step wait for them.
    import torch

    return torch.distributed.new_group(backend="gloo")

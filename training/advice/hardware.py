"""What this machine has to train with, asked of the driver and the kernel."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_QUERY = ["--query-gpu=name,memory.total,memory.used", "--format=csv,noheader,nounits"]


@dataclass(frozen=True, slots=True)
class Hardware:
    """The machine; a run of one process uses the first GPU, or the CPU."""

    device: str | None
    """Name of the GPU; null for a CPU."""
    memory_gib: float | None
    """Of that GPU, or of the machine; null where it can't be asked."""
    free_gib: float | None
    """What is left of it now."""
    gpus: int
    cores: int
    reason: str
    """Where this comes from."""

    @property
    def on_gpu(self) -> bool:
        """Whether there is a GPU."""
        return self.device is not None


def hardware() -> Hardware:
    """What is here now."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gpus = _gpus()
    if gpus:
        name, whole, used = gpus[0]
        return Hardware(name, round(whole / 1024, 1), round((whole - used) / 1024, 1), len(gpus), cores, "nvidia-smi")
    total, free = _memory()
    reason = "no NVIDIA GPU answers; memory of the machine" if total else "this system does not tell its memory"
    return Hardware(None, total, free, 0, cores, reason)


def _gpus() -> list[tuple[str, float, float]]:
    """Name, MiB, used MiB of every GPU that a run may use."""
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return []
    try:
        told = subprocess.run([smi, *_QUERY], capture_output=True, text=True, timeout=10, check=True).stdout
        rows = [line.rsplit(",", 2) for line in told.splitlines() if line.count(",") >= 2]
        found = [(name.strip(), float(total), float(used)) for name, total, used in rows]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None or not all(word.strip().isdigit() for word in visible.split(",")):
        return found if visible != "" else []
    return [found[i] for i in map(int, visible.split(",")) if i < len(found)]


def _memory() -> tuple[float | None, float | None]:
    """GiB of the machine and what is free of it; a container's limit where that is lower."""
    told: dict[str, float] = {}
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            name, value = line.split(":", 1)
            told[name] = float(value.split()[0]) / 2**20
    except (OSError, ValueError, IndexError):
        return None, None
    total, free = told.get("MemTotal"), told.get("MemAvailable")
    limit, used = _number("/sys/fs/cgroup/memory.max"), _number("/sys/fs/cgroup/memory.current")
    if total and limit is not None and limit < total:
        total, free = limit, min(free or limit, limit - (used or 0.0))
    return (round(total, 1) if total else None), (round(free, 1) if free else None)


def _number(path: str) -> float | None:
    try:
        return int(Path(path).read_text(encoding="ascii")) / 2**30
    except (OSError, ValueError):  # "max": no limit
        return None

"""GGUF by llama.cpp's own converter, which is a script of that project and not a package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from curation.errors import WinnowError

VARIABLE = "WINNOW_GGUF_CONVERT"
NAMES = ("convert_hf_to_gguf.py", "convert-hf-to-gguf")


def converter() -> list[str]:
    """The words that start it: what WINNOW_GGUF_CONVERT names, else what is on the path.

    Raises:
        WinnowError: there is none.
    """
    told = os.environ.get(VARIABLE)
    found = told if told and Path(told).is_file() else None
    if told and not found:
        raise WinnowError(f"{VARIABLE} is {told!r}, which is no file.", fix=f"set it to llama.cpp's {NAMES[0]}")
    found = found or next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        raise WinnowError(
            "There is no converter to GGUF on this machine.",
            fix=f"git clone https://github.com/ggml-org/llama.cpp, pip install gguf, and set {VARIABLE}=.../{NAMES[0]}",
        )
    return [sys.executable, found] if found.endswith(".py") else [found]


def write_gguf(model: Path, file: Path) -> None:
    """Convert a model's folder, weights as they are.

    Raises:
        WinnowError: the converter failed.
    """
    command = [*converter(), str(model), "--outfile", str(file), "--outtype", "auto"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not file.is_file():
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise WinnowError(
            f"The converter to GGUF failed: {said[-1][:300]}",
            fix="read what it needs in llama.cpp; some architectures it does not know",
        )

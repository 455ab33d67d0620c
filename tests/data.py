"""Where tests find real files: beside the repository, never in it. A test that needs one that is not there says so."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def shared(name: str) -> Path:
    """The shared file or folder `name` (such as `data/gsm8k_test.jsonl`); skips the test where it is missing."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(
            f"needs the real file {name}, which lies in a folder `shared` beside the repository and is not here"
        )
    return path

"""What a server says that it serves under a name: two adapters that had the same name are two models.

vLLM's list of models gives each one's `root`, the folder or hub name that it was loaded from. Where that is more than
the name that is asked for, it belongs to a call's key; of a folder on this machine it is the content that counts.
"""

from __future__ import annotations

import hashlib
import json
import urllib.request
from pathlib import Path
from typing import Any

SECONDS = 3.0
WHOLE_FILE, END = 64 * 2**20, 2**20
"""Larger files count by size, first and last MiB."""


def weights_of(address: str, model: str, key: str) -> str | None:
    """12 hex digits of what stands behind the name; empty where the server says no more than the name.

    Args:
        address: up to /v1.
        model: the name that is asked for.
        key: sent as a bearer token.

    Returns:
        null when the server does not say.
    """
    request = urllib.request.Request(f"{address.rstrip('/')}/models", headers={"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            listed = json.loads(answer.read())["data"]
        served: dict[str, Any] = next(one for one in listed if one["id"] == model)
    except (OSError, ValueError, LookupError, TypeError, StopIteration):
        return None
    root, parent = served.get("root"), served.get("parent")
    if not isinstance(root, str) or (root == model and not parent and _content(root) == root):
        return ""
    return hashlib.sha256(f"{_content(root)} {_content(str(parent or ''))}".encode()).hexdigest()[:12]


def _content(root: str) -> str:
    """A folder's weights where it can be read from here, else its name."""
    try:
        files = sorted(path for path in Path(root).iterdir() if path.suffix in (".safetensors", ".bin", ".json"))
        digest = hashlib.sha256()
        for path in files if root.startswith("/") else ():
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
            digest.update(_extract(path))
    except OSError:
        return root
    return digest.hexdigest() if files and root.startswith("/") else root


def _extract(path: Path) -> bytes:
    with path.open("rb") as file:
        if path.stat().st_size <= WHOLE_FILE:
            return file.read()
        head = file.read(END)
        file.seek(-END, 2)
        return head + file.read()

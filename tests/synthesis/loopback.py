"""The loopback server of `examples/`, for tests: `with Loopback() as server: ... server.spec, server.requests`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_PATH = Path(__file__).resolve().parents[2] / "examples" / "loopback_server.py"
_SPEC = importlib.util.spec_from_file_location("loopback_server", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
_module = importlib.util.module_from_spec(_SPEC)
sys.modules["loopback_server"] = _module
_SPEC.loader.exec_module(_module)

Loopback = _module.Loopback
plausible = _module.plausible
refusal = _module.refusal

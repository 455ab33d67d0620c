"""Open one page of the studio without a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest


def opener(monkeypatch: pytest.MonkeyPatch, corpus: Path) -> Callable[..., AppTest]:
    """A function that opens the page of a name on the corpus, or on the one at `path`, with what the URL asks."""

    def opened(name: str, path: Path | None = None, **query: str) -> AppTest:
        monkeypatch.setenv("WINNOW_CORPUS", str(path or corpus))
        app = AppTest.from_string(f"from studio.pages import {name}\n{name}.page()", default_timeout=30)
        for key, value in query.items():
            app.query_params[key] = value
        return app.run()

    return opened

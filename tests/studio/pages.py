"""Open one page of the studio without a browser."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from curation.corpus import Corpus


def opener(monkeypatch: pytest.MonkeyPatch, corpus: Path) -> Callable[..., AppTest]:
    """A function that opens the page of a name on the corpus, or on the one at `path`, with what the URL asks."""

    def opened(name: str, path: Path | None = None, **query: str) -> AppTest:
        monkeypatch.setenv("WINNOW_CORPUS", str(path or corpus))
        monkeypatch.setenv("WINNOW_WORKSPACE", os.environ.get("WINNOW_WORKSPACE", "/"))
        app = AppTest.from_string(f"from studio.pages import {name}\n{name}.page()", default_timeout=30)
        for key, value in query.items():
            app.query_params[key] = value
        return app.run()

    return opened


def write_run(corpus: Corpus, name: str, **status) -> Path:
    folder = corpus.path / "runs" / name
    folder.mkdir(parents=True)
    config = {"base_model": "models/small", "adapter": "full", "max_steps": 3}
    events = [
        {"type": "data", "rows": 12, "tokens": 900, "loss_tokens": 500, "truncated": 1, "dropped": {}},
        {"type": "held_out", "step": 0, "loss": 6.0, "loss_by_source": {"sums": 5.5, "tea": 6.5}},
        *({"type": "log", "step": n, "loss": 6 - n / 10, "seconds": n, "tokens_seen": 300 * n} for n in (1, 2, 3)),
        {"type": "held_out", "step": 3, "loss": 5.5, "loss_by_source": {"sums": 5.1, "tea": 6.0}},
    ]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "data.json").write_text(json.dumps({"mix": str(corpus.path / "mixes" / "best")}))
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    (folder / "status.json").write_text(json.dumps({"state": "done", "step": 3, "max_steps": 3, **status}))
    return folder


def command(app: AppTest, verb: str) -> str:
    return next(code.value for code in app.code if code.value.startswith(f"winnow {verb} "))


def button(app: AppTest, key: str):
    return next(b for b in app.button if b.key == key)


def texts(app: AppTest) -> str:
    return " ".join(element.value for element in (*app.caption, *app.markdown, *app.info, *app.success, *app.error))

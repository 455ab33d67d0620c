"""On every page what changes something is off for a viewer and says why, and a forged click is refused."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from curation.annotating import annotate, ask
from curation.corpus import Corpus
from curation.deciding import drop, tag
from curation.snapshots import snapshot
from curation.views import View, save_view
from studio.app import SECTIONS
from studio.door import access
from tests.studio.pages import write_run
from tests.studio.worked import worked

VIEWS = {
    "browse": [("browse_view", "rejected")],
    "annotate": [("label_view", "agreement")],
    "score": [("score_view", view) for view in ("distribution", "pair", "tags")],
    "clean": [("clean_view", view) for view in ("leaks", "normalize", "teach")],
    "select": [("select_view", view) for view in ("compare", "hold-out")],
    "compare_runs": [("runs_view", view) for view in ("cases", "search")],
    "history": [("history_view", "snapshots")],
    "ingest": [("ingest_way", "path")],
}
"""Page -> keys and values of the session that draw its other views."""

PLACES = [
    (place.address, view)
    for places in SECTIONS.values()
    for place in places
    for view in (None, *VIEWS.get(place.address, ()))
]

LOOKING = re.compile(
    r"next_step|guide_toggle|deciding-step-.*|like-.*|.*-go|.*-next|.*-prev|.*-skip|.*-preview|to_compare|.*_again|None"
    r"|more-.*|.*-like|.*_like|answers_at_.*"
)
"""Keys of buttons that only show something else."""

MOVES = re.compile(r"(label|concept)-back|.*-next|.*-prev|.*_previous|.*_next|answers_at_.*|(use|clear)_.*|pair_use")
"""Keys of buttons that only show something else, and are off where there is nothing that way."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """One with something to press on every page."""
    made = worked(tmp_path_factory.mktemp("viewed"))
    with made.database.held():
        ids = made.frame(["id"])["id"].to_list()
        ask(made, "good")
        ask(made, "tea", kind="concept")
        for who, answer in (("ann", "yes"), ("bob", "no")):
            annotate(made, "good", answer, ids=ids[:4], who=who)
        tag(made, "good", ids=ids[:12])
        tag(made, "bad", ids=ids[12:24])
        drop(made, ids=ids[:1], reason="short")
        snapshot(made, "before")
    write_run(made, "second")
    write_run(made, "stopped", state="stopped")
    save_view(made.path, View("long answers", "browse", {"where": "length > 5"}))
    return made


@pytest.fixture
def open_place(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    def opened(name: str, view: tuple[str, str] | None) -> AppTest:
        app = AppTest.from_string(f"from studio.pages import {name}\n{name}.page()", default_timeout=60)
        if view is not None:
            app.session_state[view[0]] = view[1]
        return app.run()

    monkeypatch.setenv("WINNOW_CORPUS", str(corpus.path))
    monkeypatch.setenv("WINNOW_WORKSPACE", "/")
    monkeypatch.setenv("WINNOW_PASSWORD", "sesame")
    return opened


def stored(corpus: Corpus) -> dict[str, object]:
    """All that a click could change."""
    found = [path for path in corpus.path.rglob("*") if path.is_file() and path.suffix not in (".wal", ".duckdb")]
    files = {path: path.stat().st_mtime_ns for path in found}
    tables = ("actions", "annotations", "questions", "selections", "samples", "held_out", "snapshots")
    counted = {table: corpus.query(f"SELECT count(*) FROM {table}").item() for table in tables}
    return {"files": files, **counted}


@pytest.mark.parametrize(("name", "view"), PLACES, ids=[f"{name}-{view[1] if view else ''}" for name, view in PLACES])
def test_what_changes_something_is_off_for_a_viewer_and_says_why(
    open_place: Callable[..., AppTest], corpus: Corpus, name: str, view: tuple[str, str] | None
) -> None:
    app = open_place(name, view)
    assert not app.exception
    on = [b.key for b in app.button if not b.disabled and not LOOKING.fullmatch(str(b.key))]
    silent = [
        b.key for b in app.button if b.disabled and b.help != access.ONLY_LOOK and not MOVES.fullmatch(str(b.key))
    ]
    assert (on, silent) == ([], [])
    before = stored(corpus)
    for key in [b.key for b in app.button if b.disabled]:
        forged = next(b for b in app.button if b.key == key)
        forged.proto.disabled = False
        app = forged.click().run()
        assert stored(corpus) == before, key

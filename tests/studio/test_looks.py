"""What was seen to be wrong on pictures of the pages, held by tests."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from studio import app
from studio.languages import catalogue
from studio.languages.telling import Telling
from studio.pages.run_colours import COLOURS, DASHES, channels
from tests.studio import screenshots

PAGES = Path(app.HERE) / "pages"


@pytest.mark.parametrize(
    "place", [place for places in app.SECTIONS.values() for place in places], ids=lambda p: p.address
)
def test_no_view_of_a_page_is_named_like_the_page_in_chinese(place):
    chinese = catalogue("zh")
    views = getattr(importlib.import_module(f"studio.pages.{place.address}"), "VIEWS", {})
    assert chinese[place.title] not in [chinese[view] for view in views.values()]


def test_times_are_shown_as_dates_since_the_browser_says_how_long_ago_in_english_only():
    assert [path.name for path in PAGES.glob("*.py") if 'format="distance"' in path.read_text(encoding="utf-8")] == []


def test_a_source_has_the_same_colour_and_dash_beside_all_sources_as_without_them():
    whole = channels("source", ["maths", "code", "all"], first="all")
    parts = channels("source", ["code", "maths"], skipped=1)
    for channel in ("color", "strokeDash"):
        both = [
            dict(zip(c[channel]["scale"]["domain"], c[channel]["scale"]["range"], strict=True)) for c in (whole, parts)
        ]
        assert both[0] == {"all": both[0]["all"], **both[1]}


def test_every_dash_draws_more_line_than_gap_so_that_it_is_seen_on_dark():
    assert len(DASHES) == len(COLOURS)
    assert all(sum(dash[::2]) >= sum(dash[1::2]) for dash in DASHES)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("dropped: too weak", "已剔除：too weak"),
        ("low (below 0.99)", "低（小于 0.99）"),
        ("high (5 or more)", "高（不小于 5）"),
        ("the answer names no final answer; expected: 72", "回答没有给出最终答案；应为 72"),
    ],
)
def test_reasons_and_bands_in_tables_are_told_in_chinese(said, told):
    assert Telling.of(catalogue("zh")).told(said) == told


def test_the_lively_corpus_is_made_by_commands_that_exist():
    from studio.cli import winnow

    verbs = {line.split()[0] for line in screenshots.VERBS.strip().splitlines()}
    assert verbs <= set(winnow.commands)

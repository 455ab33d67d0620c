"""The Map page without a browser, what it sends to one, and the map in a notebook."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import struct
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import streamlit as st

from curation.corpus import Corpus
from curation.deciding import tag
from curation.embedding import embed
from curation.errors import CorpusError
from curation.ingestion import ingest
from curation.mapping.maps import Map, MapSpec, forget_map, make_map, stored_map
from curation.mapping.titles import Title
from curation.scorers.length import Length
from curation.scoring import score
from curation.selection import select
from curation.selectors import Longest
from studio import map_payload
from studio.cli import main
from studio.map_payload import Marks, by_cluster, coloured, colours, marks, packed, points, shown_rows
from studio.notebook import show_map
from studio.pages import map_actions, map_lasso
from studio.pages.drawn_with import DrawnWith
from studio.pages.map_crowds import shares
from studio.pages.map_ground import SELECTION, among, ground_of, holding, not_on_map, overlaid, values_of
from tests.studio.pages import opener, texts

HOSTILE = "<script>alert(1)</script>"
ROWS = [
    *({"instruction": f"How long does bread bake in oven {n}?", "output": "bread " * (n + 1)} for n in range(20)),
    *({"instruction": f"请介绍第{n}种龙井茶。", "output": HOSTILE} for n in range(20)),
]
SPEC = MapSpec("pca", clusters=2)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("map")
    for name, rows in (("bread", ROWS[:20]), (HOSTILE.replace("/", ""), ROWS[20:])):
        file = folder / f"{len(name)}.jsonl"
        file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
        ingest(corpus := Corpus.create(folder / "corpus"), [file], source=name)
    score(corpus, Length())
    select(corpus, Longest(), 5, name="longest")
    embed(corpus)
    return corpus


@pytest.fixture
def ground(corpus):
    make_map(corpus, SPEC)
    return ground_of(corpus, "lexical", SPEC)


@pytest.fixture
def open_page(corpus, monkeypatch):
    return opener(monkeypatch, corpus.path)


def header(payload):
    length = struct.unpack("<I", payload[:4])[0]
    return json.loads(payload[4 : 4 + length]), payload[4 + length :]


def test_a_corpus_without_samples_or_vectors_says_what_to_do_first(open_page, tmp_path):
    Corpus.create(tmp_path / "empty")
    assert "winnow ingest" in " ".join(c.value for c in open_page("map", tmp_path / "empty").code)
    (tmp_path / "rows.jsonl").write_text(json.dumps(ROWS[0]))
    ingest(Corpus.create(tmp_path / "bare"), [tmp_path / "rows.jsonl"])
    assert "winnow embed" in " ".join(c.value for c in open_page("map", tmp_path / "bare").code)


def test_before_a_layout_the_preview_is_shown_with_the_command_that_makes_one(open_page, corpus):
    app = open_page("map")
    assert not app.exception
    assert f"winnow map {corpus.path} --embedding lexical --method tsne" in [c.value for c in app.code]
    assert "40 samples on the map" in texts(app)


def test_a_filter_a_search_and_a_selection_are_counted(open_page, ground):
    app = open_page("map", where="source = 'bread'", q="oven 3", over="selection:longest", colour="length")
    assert not app.exception
    assert "40 samples on the map · 20 meet the filter · 1 found · 5 laid over" in texts(app)


def test_what_a_link_names_that_is_no_more_is_passed_over(open_page, ground):
    app = open_page("map", colour="no such column", over="selection:gone")
    assert not app.exception
    assert app.session_state["map_overlay"] == ""


def test_samples_inside_the_lasso_are_listed_and_one_action_changes_all(open_page, ground, corpus):
    app = open_page("map")
    rows = np.flatnonzero(values_of(corpus, ground, "source").to_numpy() == "bread")
    line = [[0, 0], [1, 0], [1, 1], [0, 1]]
    app.session_state[map_lasso.DRAWN] = (ground.name, rows, line)
    app.run()
    assert next(h.value for h in app.subheader) == "20 samples inside"
    app.session_state["map_tag_open"] = True
    app.run()
    next(field for field in app.text_input if field.key == "map_tag_said").set_value("crust").run()
    told = next(code.value for code in app.code if " tag " in code.value)
    next(button for button in app.button if button.key == "map_tag").click().run()
    assert corpus.count("list_contains(tags, 'crust')") == 20
    main([*shlex.split(told)[1:], "--remove"])
    assert corpus.count("list_contains(tags, 'crust')") == 0


def test_a_line_on_one_layout_takes_nothing_on_another_of_the_same_number(open_page, ground, corpus):
    part = MapSpec("pca", where="source = 'bread'")
    make_map(corpus, part)
    try:
        other = ground_of(corpus, "lexical", part)
        assert (other.drawn.number, len(other.drawn.ids)) == (1, 20)
        app = open_page("map")
        key = next(box.key for box in app.selectbox if (box.key or "").startswith("map_layout"))
        app.session_state[map_lasso.DRAWN] = (ground.name, np.arange(40), [[0, 0], [1, 0], [1, 1]])
        for layout, told in ((0, "Samples you choose appear here"), (1, "40 samples inside")):
            app.selectbox(key).set_value(layout).run()
            assert not app.exception
            assert told in [h.value for h in app.subheader]
    finally:
        forget_map(corpus, "lexical", part)


def test_what_was_typed_stays_when_its_box_closes_and_goes_when_it_was_done(open_page, ground):
    app = open_page("map")
    app.session_state[map_lasso.DRAWN] = (ground.name, np.arange(3), [[0, 0], [1, 0], [1, 1]])
    app.session_state["map_keep_open"] = True
    app.run()
    app.text_input("map_keep_said").set_value("well told").run()
    for is_open in (False, True):
        app.session_state["map_keep_open"] = is_open
        app.run()
    assert app.text_input("map_keep_said").value == "well told"
    app.button("map_keep").click().run()
    app.session_state["map_keep_open"] = True
    app.run()
    assert app.text_input("map_keep_said").value == ""


def test_the_box_that_saves_says_what_its_command_leaves_out(open_page, ground):
    app = open_page("map")
    app.session_state[map_lasso.DRAWN] = (ground.name, np.arange(3), [[0, 0], [1, 0], [1, 1]])
    app.session_state["map_choose_open"] = True
    app.run()
    assert "keeps the line and the layout" in texts(app)


def test_few_samples_stand_in_the_command_and_many_in_a_file(tmp_path):
    assert map_actions.command("keep", tmp_path, ["a", "b"], "") == ["keep", str(tmp_path), "--id", "a", "--id", "b"]
    *argv, file = map_actions.command("drop", tmp_path, list("abcde"), "too short")
    assert argv == ["drop", str(tmp_path), "--reason", "too short", "--ids"]
    assert Path(file).read_text() == "a\nb\nc\nd\ne\n"
    assert map_actions.command("choose", tmp_path, ["a"], "")[2:4] == ["--name", "NAME"]


def test_of_the_files_of_ids_the_latest_stay(tmp_path):
    for n in range(map_actions.KEPT + 5):
        last = map_actions.written(tmp_path / "lassos", [str(n)])
    assert len(list(last.parent.iterdir())) == map_actions.KEPT
    assert last.exists()


def test_a_file_of_ids_that_is_asked_for_again_is_the_latest(tmp_path):
    first = map_actions.written(tmp_path / "lassos", ["0"])
    os.utime(first, (1, 1))
    map_actions.written(tmp_path / "lassos", ["0"])
    for n in range(1, map_actions.KEPT):
        os.utime(map_actions.written(tmp_path / "lassos", [str(n)]), (n + 1, n + 1))
    map_actions.written(tmp_path / "lassos", ["one more"])
    assert first.exists()


def test_samples_that_a_file_names_become_a_selection(corpus, tmp_path, capsys):
    ids = corpus.frame(["id"])["id"].to_list()[:7]
    (tmp_path / "ids.txt").write_text("\n".join(ids) + "\n\n")
    main(["choose", str(corpus.path), "--ids", str(tmp_path / "ids.txt"), "--name", "pointed-at"])
    assert corpus.selection("pointed-at").ids == ids
    with pytest.raises(SystemExit):
        main(["choose", str(corpus.path), "--name", "nothing"])
    assert "--ids FILE" in capsys.readouterr().err


def test_a_file_of_ids_may_begin_with_a_byte_order_mark(corpus, tmp_path):
    ids = corpus.frame(["id"])["id"].to_list()[:2]
    (tmp_path / "ids.txt").write_text("\n".join(ids), encoding="utf-8-sig")
    main(["choose", str(corpus.path), "--ids", str(tmp_path / "ids.txt"), "--name", "marked"])
    assert corpus.selection("marked").ids == ids


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ("abc\n".encode("utf-16"), "not UTF-8 text"),
        (b"\n \n", "No id stands in"),
        (b"unknown\n", "of no current sample, such as 'unknown'"),
    ],
)
@pytest.mark.parametrize("verb", [["drop", "--reason", "off topic"], ["choose", "--name", "refused"]])
def test_a_file_that_names_no_sample_is_refused_in_two_lines(corpus, tmp_path, capsys, verb, held, told):
    (tmp_path / "ids.txt").write_bytes(held)
    with pytest.raises(SystemExit) as ended:
        main([verb[0], str(corpus.path), "--ids", str(tmp_path / "ids.txt"), *verb[1:]])
    error = capsys.readouterr().err
    assert (ended.value.code, told in error, "  fix: " in error) == (2, True, True)
    assert "refused" not in corpus.selections()


def test_a_point_is_four_bytes_of_place_one_of_colour_and_a_bit_of_each_mark(ground):
    told, places = header(points(ground.drawn))
    assert (told["n"], told["parts"], len(places)) == (40, ["points"], 4 * 40)
    xy = np.frombuffer(places, "<u2").reshape(40, 2) / 65535
    assert np.allclose(xy, ground.drawn.xy, atol=1e-4)
    told, own = header(colours(ground.drawn, coloured(pl.Series([1.0] * 39 + [None])), "price"))
    assert (told["colour_by"], len(own), own[-1]) == ("price", 40, map_payload.NOTHING)
    even = np.arange(40) % 2 == 0
    told, bits = header(marks(ground.drawn, Marks(even, over=~even)))
    assert (told["planes"], len(bits)) == (["within", "over"], 2 * 5)
    assert np.unpackbits(np.frombuffer(bits[:5], np.uint8), bitorder="little").astype(bool).tolist() == even.tolist()


def test_parts_of_one_map_name_it_and_those_of_another_do_not(ground, corpus):
    parts = (
        points(ground.drawn),
        colours(ground.drawn, coloured(None), ""),
        marks(ground.drawn, Marks(np.ones(40, bool))),
    )
    assert len({header(part)[0]["map"] for part in parts}) == 1
    assert [len(header(part)[1]) for part in parts] == [160, 0, 0]  # nothing is sent where all are alike
    other = dataclasses.replace(ground.drawn, xy=1 - ground.drawn.xy)
    assert header(points(other))[0]["map"] != header(parts[0])[0]["map"]


def test_in_one_piece_the_three_parts_follow_one_another(ground):
    by = coloured(pl.Series(range(40)))
    told, arrays = header(packed(ground.drawn, by, "n", Marks(np.arange(40) < 8), words={"hint": "look"}))
    assert told["parts"] == ["points", "colours", "marks"]
    assert told["words"]["hint"] == "look"
    assert arrays[160:200] == by.index.tobytes()
    assert arrays[200:] == b"\xff\0\0\0\0"


def test_what_the_page_asks_is_kept_until_something_is_written(corpus, ground):
    corpus.database.hold()
    try:
        first = holding(corpus, ground, "list_contains(tags, 'kept')")
        assert holding(corpus, ground, "list_contains(tags, 'kept')") is first
        tag(corpus, "kept", ids=ground.drawn.ids[:4])
        assert holding(corpus, ground, "list_contains(tags, 'kept')").sum() == 4
    finally:
        corpus.database.release()


def test_a_row_that_a_browser_makes_up_is_none(ground):
    assert [ground.row(sent) for sent in (0, 39, 40, -1, "1", None)] == [0, 39, None, None, None, None]


def test_eight_frequent_values_have_a_colour_and_the_others_share_one():
    values = pl.Series([f"v{n}" for n in range(10) for _ in range(20 - n)] + [None])
    colours = coloured(values)
    assert len(np.unique(colours.index)) == 10
    assert colours.legend["entries"][-2:] == [(8, "2 others", "23"), (255, "no value", "1")]


def test_each_of_forty_clusters_has_a_colour_of_its_own():
    names = tuple(Title(f"title {n}", ()) for n in range(40))
    drawn = Map("e", SPEC, [str(n) for n in range(80)], np.zeros((80, 2), np.float32), np.arange(80) % 40, names, 1)
    colours = by_cluster(drawn)
    assert len(np.unique(colours.index)) == 40
    assert colours.legend["entries"][39] == (39, "title 39", "2")


def test_a_few_extreme_numbers_leave_the_others_their_colours():
    colours = coloured(pl.Series([*range(1000), 10**9]))
    assert colours.index[500] in range(120, 135)
    assert colours.legend["high"] == "≥ 990"


def test_yes_and_no_are_words_and_nothing_measured_has_a_legend_too():
    assert [entry[1] for entry in coloured(pl.Series([True, False, None])).legend["entries"]] == [
        "yes",
        "no",
        "no value",
    ]
    assert coloured(pl.Series([None, float("nan")], dtype=pl.Float64)).legend["entries"] == [(255, "no value", "2")]


def test_of_more_points_than_can_be_drawn_every_cluster_sends_its_share(ground):
    rows = shown_rows(ground.drawn, 20)
    sizes = np.bincount(ground.drawn.clusters)
    assert np.bincount(ground.drawn.clusters[rows]).tolist() == (sizes // 2).tolist()
    assert shown_rows(ground.drawn) is None


def test_conditions_samples_and_selections_become_marks_of_the_points(corpus, ground):
    assert holding(corpus, ground, "source = 'bread'").sum() == 20
    assert overlaid(corpus, ground, f"{SELECTION}longest").sum() == 5
    assert among(corpus, ground, pl.Series(ground.drawn.ids[:3])).tolist() == [True] * 3 + [False] * 37
    assert not_on_map(corpus, ground) == 0


def test_hidden_colours_are_not_chosen_by_a_lasso(ground, corpus, monkeypatch):
    everything = {"polygon": [[-1, -1], [2, -1], [2, 2], [-1, 2]], "hidden": []}
    monkeypatch.setattr(map_lasso, "colour", lambda: "source")
    assert len(map_lasso.chosen_rows(corpus, ground, everything)) == 40
    assert len(map_lasso.chosen_rows(corpus, ground, {**everything, "hidden": [0, "x", 999]})) == 20


def test_a_hidden_value_is_the_one_that_was_hidden_whatever_was_written_since(ground, corpus):
    sent = coloured(pl.Series(["common"] * 30 + ["rare"] * 10))  # a value in ten samples has another number by now
    anew = coloured(pl.Series(["common"] * 5 + ["rare"] * 35))  # sent while the lasso is on its way
    lasso = {"polygon": [[-1, -1], [2, -1], [2, 2], [-1, 2]], "hidden": [0]}
    try:
        for colours in (sent, anew, anew):
            map_lasso.keep_colours(ground, colours)
        assert map_lasso.chosen_rows(corpus, ground, {**lasso, "colours": sent.version}).tolist() == list(range(30, 40))
        assert map_lasso.chosen_rows(corpus, ground, {**lasso, "colours": anew.version}).tolist() == list(range(5))
    finally:
        del st.session_state[map_lasso.SENT]


def test_a_part_of_the_page_knows_that_the_filter_or_the_corpus_is_another(corpus, ground):
    corpus.database.hold()
    try:
        drawn = DrawnWith.now(corpus, "turns = 1")
        tag(corpus, "later", ids=ground.drawn.ids[:1])
        assert not drawn.is_old(corpus, "turns = 1")  # the page is being drawn
        drawn.whole = True
        assert drawn.is_old(corpus, "turns = 1")
        drawn = dataclasses.replace(DrawnWith.now(corpus, "turns = 1"), whole=True)
        assert [drawn.is_old(corpus, where) for where in ("turns = 1", None)] == [False, True]
    finally:
        corpus.database.release()


def test_shares_of_clusters_are_those_counted_by_hand(ground):
    pool, chosen = np.ones(40, bool), ground.drawn.clusters == 0
    assert shares(ground.drawn, pool, chosen)["times"].to_list() == [0, 2]


def test_a_corpus_shows_itself_in_a_notebook_with_every_name_escaped(corpus):
    shown = corpus._repr_html_()
    assert "longest" in shown
    assert "(20)" in shown
    assert "<script" not in shown
    assert repr(corpus) == f"Corpus('{corpus.path}')"


def test_a_notebook_map_is_one_piece_of_html_that_runs_nothing_of_the_data(corpus, ground, tmp_path):
    found = show_map(corpus, color="source", where="source = 'bread'", selection="longest")
    page = found.save(tmp_path / "map.html").read_text(encoding="utf-8")
    assert HOSTILE not in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert page not in found._repr_html_()  # escaped: it is the value of an attribute
    with pytest.raises(CorpusError, match="no such"):
        show_map(corpus, color="no such")


def test_the_command_lays_out_a_map_and_tells_its_clusters(corpus, capsys):
    main(["map", str(corpus.path), "--method", "pca", "--clusters", "3", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert sum(told["clusters"].values()) == 40
    assert len(stored_map(corpus, "lexical", MapSpec("pca")).titles) == 3

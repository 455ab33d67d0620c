"""Maps of a corpus: stored, found again, added to; clusters and their titles."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from curation.by_hand import select_by_hand
from curation.corpus import Corpus
from curation.deciding import drop
from curation.embedding import embed
from curation.errors import CorpusError
from curation.ingestion import ingest
from curation.mapping import titles as naming
from curation.mapping.maps import MapSpec, make_map, maps_of, preview, stored_map
from curation.mapping.titles import Title, by_model, by_words, drawn
from tests.synthesis.loopback import Loopback

BREAD = [f"How long does sourdough bread bake in oven number {n}?" for n in range(30)]
SHIPS = [f"Which sail does a wooden ship set in wind force {n}?" for n in range(30)]
ASKED = ("请介绍{}龙井茶的香气", "{}的龙井茶怎么泡", "我在{}喝过龙井茶", "龙井茶和{}有什么不同", "{}为什么喜欢龙井茶")
TEA = [form.format(what) for form in ASKED for what in ("杭州", "普洱", "春天", "老师", "北京", "朋友")]


def write(folder, name, texts):
    file = folder / f"{name}.jsonl"
    rows = [{"instruction": text, "output": f"answer {n}"} for n, text in enumerate(texts)]
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    corpus = Corpus.create(folder / "corpus")
    ingest(corpus, [write(folder, "bread", BREAD), write(folder, "ships", SHIPS), write(folder, "tea", TEA)])
    embed(corpus, text="instruction", name="words")
    return corpus


def test_a_map_has_a_place_and_a_cluster_for_every_sample_and_is_found_again(corpus):
    report = make_map(corpus, MapSpec(clusters=3))
    found = stored_map(corpus, "words", MapSpec(clusters=3))
    assert (report.samples, report.added, report.moved) == (90, 90, True)
    assert found.xy.min() >= 0
    assert found.xy.max() <= 1
    assert sorted(np.bincount(found.clusters)) == [30, 30, 30]
    assert make_map(corpus, MapSpec(clusters=3)).added == 0
    assert maps_of(corpus, "words")[0] == MapSpec(clusters=3)


def test_titles_name_what_a_cluster_is_about_in_its_own_language(corpus):
    titles = list(make_map(corpus, MapSpec(clusters=3)).clusters)
    words = " ".join(titles)
    assert "bread" in words
    assert "sail" in words
    assert "龙井茶" in words
    assert not any("how" in title or "which" in title for title in titles)


def test_other_clusters_do_not_move_the_samples(corpus):
    before = stored_map(corpus, "words", MapSpec(clusters=3))
    report = make_map(corpus, MapSpec(clusters=5))
    after = stored_map(corpus, "words", MapSpec(clusters=5))
    assert not report.moved
    assert len(after.titles) == 5
    assert np.array_equal(before.xy, after.xy)


def test_samples_that_come_later_are_added_and_the_others_stay(corpus, tmp_path):
    spec = MapSpec("pca")
    make_map(corpus, spec)
    before = stored_map(corpus, "words", spec)
    ingest(corpus, [write(tmp_path, "later", ["How long does sourdough bread bake in oven number 77?"])])
    embed(corpus, text="instruction", name="words")
    report = make_map(corpus, spec)
    after = stored_map(corpus, "words", spec)
    assert (report.added, report.moved) == (1, False)
    assert np.array_equal(after.xy[:90], before.xy)
    bread = after.xy[:30]
    assert (after.xy[90] >= bread.min(0) - 1e-3).all()
    assert (after.xy[90] <= bread.max(0) + 1e-3).all()
    assert make_map(corpus, spec, anew=True).moved


def test_a_map_of_a_part_is_another_map(corpus):
    report = make_map(corpus, MapSpec("pca", where="source = 'tea'"))
    assert report.samples == 30
    assert len(stored_map(corpus, "words", MapSpec("pca")).ids) > 30


def test_the_preview_needs_nothing_stored(corpus):
    assert len(preview(corpus, "words").ids) == corpus.count()


def test_a_map_without_an_embedding_says_how_to_make_one(tmp_path):
    empty = Corpus.create(tmp_path / "empty")
    with pytest.raises(CorpusError, match="no embedding") as told:
        make_map(empty)
    assert told.value.fix.startswith("winnow embed")


def test_weights_of_words_are_those_of_the_paper():
    # Two clusters, 4 words in 2 + 1 samples each: "tea" 2 of 2 in the first, "cup" once in either.
    texts = pl.Series(["tea cup", "tea pot", "cup jug"])
    titles = by_words(texts, np.array([0, 0, 1]), 2)
    assert titles[0].words[0] == "tea"
    assert titles[1].words[0] == "jug"  # "cup" is in both, so it weighs less


def test_of_a_large_cluster_a_draw_of_texts_is_read_and_of_a_small_one_all(monkeypatch):
    monkeypatch.setattr(naming, "TEXTS", 40)
    monkeypatch.setattr(naming, "FEWEST_TEXTS", 5)
    labels = np.array([0] * 1000 + [1] * 3)
    rows = drawn(labels, 2, seed=0)
    assert np.bincount(labels[rows]).tolist() == [20, 3]
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert drawn(labels, 2, seed=0).tolist() == rows.tolist()


def test_a_text_that_was_drawn_stands_for_those_that_were_not():
    texts = pl.Series(["bread oven", "tea cup", "tea pot"])
    counts = naming._occurring(texts, np.array([0, 1, 1]), np.array([500.0, 1.0]))
    assert dict(counts.select("word", "n").iter_rows())["bread"] == 500
    assert by_words(texts, np.array([0, 1, 1]), 2, np.array([500, 2]))[0].words == ("bread", "oven")


def test_a_chinese_title_has_no_part_of_another_word_and_no_joining_characters():
    texts = pl.Series(
        ["请介绍龙井茶的香气", "我喜欢龙井茶", "龙井茶在杭州", "机器学习的模型", "训练机器学习模型", "机器学习很有用"]
    )
    titles = by_words(texts, np.array([0, 0, 0, 1, 1, 1]), 2)
    assert titles[0].text.split(" · ")[0] == "龙井茶"
    assert titles[1].text.split(" · ")[0] == "机器学习"
    assert not any(word[0] in "的了是" or word[-1] in "的了是" for title in titles for word in title.words)


def test_a_chat_model_names_the_clusters_and_where_it_says_nothing_the_words_stay(tmp_path):
    words = [Title("bread, oven", ("bread",)), Title("ship, sail", ("ship",))]
    with Loopback(lambda body, number: "" if "ship" in str(body) else '"Baking bread"\nbecause of ovens') as server:
        named, failed = by_model(server.spec, [["a"], ["b"]], words, calls=tmp_path / "calls.sqlite")
    assert [title.text for title in named] == ["Baking bread", "ship, sail"]
    assert failed == 1


def test_a_selection_by_hand_leaves_out_what_none_may_hold(corpus):
    ids = corpus.frame(["id"], where="source = 'ships'")["id"].to_list()[:5]
    corpus.hold_out(ids[:1])
    drop(corpus, ids=ids[1:2], reason="off topic")
    report = select_by_hand(corpus, [*ids, ids[2]], name="mine", how={"polygon": [[0, 0]]})
    assert report.ids == ids[2:]
    assert report.rejected == {ids[0]: "held out for evaluation", ids[1]: "dropped: off topic"}
    assert corpus.selection("mine").operator["polygon"] == [[0, 0]]
    with pytest.raises(CorpusError, match="None of the 1 samples"):
        select_by_hand(corpus, ids[:1], name="none")
    with pytest.raises(CorpusError, match="1 of the ids are of no current sample, such as 'gone'"):
        select_by_hand(corpus, [ids[2], "gone"], name="none")
    with pytest.raises(CorpusError, match="No sample was named"):
        select_by_hand(corpus, [], name="none")

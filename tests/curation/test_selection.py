from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl
import pytest

from curation.corpus import Corpus
from curation.deciding import drop, edit, keep
from curation.embedding import add_vectors
from curation.errors import CorpusError, OperatorError
from curation.names import checked_name
from curation.operators import Pool, Selection, Selector
from curation.sample import to_frame
from curation.scorers import Metadata
from curation.scoring import score
from curation.selection import hold_out, samples_in, select
from curation.selectors import KCenter, Longest, Random, Stratified, Threshold, TopK
from curation.selectors.k_center import farthest_first
from curation.subsets.ranking import chosen
from curation.vectors import store, vectors_of
from tests.curation.samples import corpus_of, pair


def pool(n: int = 200, seed: int = 0) -> Pool:
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "id": [f"{i:04d}" for i in range(n)],
            "source": ["big" if i % 4 else "small" for i in range(n)],
            "quality": [None if i % 50 == 7 else float(i % 17) for i in range(n)],
            "response_chars": rng.integers(0, 100, n),
        }
    )
    return Pool(frame, rng.normal(size=(n, 8)).astype(np.float32))


def test_stratified_keeps_the_shares_in_every_prefix() -> None:
    sources = dict(zip(pool().frame["id"], pool().frame["source"], strict=True))
    ids = Stratified().select(pool(), 100).ids
    for size in (4, 20, 100):
        assert abs(sum(sources[i] == "small" for i in ids[:size]) - size / 4) <= 1


def test_top_k_leaves_out_what_has_no_score_or_is_out_of_bounds() -> None:
    chosen = TopK(score="quality", max=10).select(pool(), 5)
    values = dict(zip(pool().frame["id"], pool().frame["quality"], strict=True))
    assert [values[i] for i in chosen.ids] == [10] * 5
    assert chosen.rejected["0007"] == "no quality"
    assert "above 10" in chosen.rejected["0011"]


def test_top_k_says_how_many_there_are_when_too_many_are_asked_for() -> None:
    with pytest.raises(OperatorError, match="22 of 200"):
        TopK(score="quality", min=15).select(pool(), 25)


def test_k_center_takes_the_corners_of_a_square_and_copies_last() -> None:
    square = np.array([[0, 0], [0, 0], [1, 1], [0, 1], [1, 0], [0.5, 0.5]], np.float32)
    order, nearest = farthest_first(square, 6, first=5)
    assert set(order[1:5]) == {0, 2, 3, 4}
    assert order[5] == 1
    assert np.isfinite(nearest).all()


def test_k_center_covers_better_than_random() -> None:
    candidates = pool(400)
    vectors = dict(zip(candidates.frame["id"], candidates.vectors, strict=True))

    def radius(ids: list[str]) -> float:
        chosen = np.array([vectors[i] for i in ids])
        return max(float(np.sqrt(((chosen - v) ** 2).sum(1)).min()) for v in vectors.values())

    assert radius(KCenter().select(candidates, 40).ids) < radius(Random().select(candidates, 40).ids)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    samples = [pair(f"q{i}", "a" * (i + 1), source="ab"[i % 2], metadata={"stars": i, "n": i}) for i in range(40)]
    return corpus_of(tmp_path / "c", samples)


def test_a_selection_is_kept_with_its_operator_and_reasons(corpus: Corpus) -> None:
    report = select(corpus, Longest(), 3, name="best")
    saved = corpus.selection("best")
    assert saved.ids == report.ids
    assert saved.operator == {"name": "longest", "parameters": {}}
    assert corpus.query("SELECT count(*) AS n FROM not_selected").item() == 37
    assert corpus.frame(["response_chars"], where="id IN (SELECT id FROM selected)")["response_chars"].to_list() == [
        38,
        39,
        40,
    ]


def test_held_out_samples_are_never_chosen_and_the_reason_says_so(corpus: Corpus) -> None:
    held = hold_out(corpus, "25%")
    report = select(corpus, Random(), 30, name="all")
    assert (held.held_out, held.by_source, report.pool) == (10, {"a": 5, "b": 5}, 30)
    assert list(report.rejected.values()) == ["held out for evaluation"] * 10
    assert hold_out(corpus, "25%").added == 0


def test_samples_that_ask_the_same_are_held_out_together_and_the_number_stays_exact(tmp_path: Path) -> None:
    asked = [pair(f"q{i % 10}", f"a{i}", source="ab"[i % 2]) for i in range(30)]
    corpus = corpus_of(tmp_path / "c", [*asked, *(pair(f"single {i}", "a") for i in range(30))])
    report = hold_out(corpus, 20)
    groups = corpus.query(
        "SELECT bool_or(held_out) AS some, bool_and(held_out) AS every FROM everything GROUP BY instruction"
    )
    assert report.held_out == 20
    assert groups["some"].to_list() == groups["every"].to_list()
    assert corpus.count("held_out AND instruction LIKE 'q%'") > 0


def test_only_where_every_question_is_asked_often_more_are_held_out_than_asked_for(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", [pair(f"q{i % 3}", f"a{i}") for i in range(12)])
    assert hold_out(corpus, 5).held_out == 8
    same = corpus_of(tmp_path / "same", [pair("q", f"a{i}") for i in range(12)])
    with pytest.raises(OperatorError, match="nothing would be left"):
        hold_out(same, 5)


def test_a_sample_that_asks_what_a_held_out_one_asks_is_no_candidate(corpus: Corpus) -> None:
    held = corpus.frame(["id"], where="instruction = 'q3'")["id"].to_list()
    corpus.hold_out(held)
    twin = pair("Q3 ", "another answer")
    corpus.add(to_frame([twin]))
    report = select(corpus, Random(), 39, name="all")
    assert report.rejected == {held[0]: "held out for evaluation", twin.id: "it asks what a held-out sample asks"}


@pytest.mark.parametrize("name", ["", " ", "a/b", "a\\b", "..", ".hidden", "a\n", "\x00", "很" * 99])
def test_a_name_that_is_no_file_name_is_refused(corpus: Corpus, name: str) -> None:
    with pytest.raises(CorpusError, match="No selection can be called"):
        select(corpus, Random(), 3, name=name)


@pytest.mark.parametrize("name", ["my sel's 'x'=5", "top-k 5%", "最长"])
def test_other_names_are_taken(name: str) -> None:
    assert checked_name("selection", name) == name


def test_strata_of_a_column_of_lists_are_refused_in_two_lines(corpus: Corpus) -> None:
    with pytest.raises(OperatorError, match="can't use the column 'messages'"):
        select(corpus, Stratified(by="messages"), 3, name="x")


def test_a_budget_may_be_a_share() -> None:
    assert [samples_in(b, 52_002) for b in ("5%", 7, "2_000", "0.5%")] == [2600, 7, 2000, 260]


@pytest.mark.parametrize("budget", ["0", "-3", "many", "0%", "", "inf%", "1e400%", "nan%"])
def test_a_budget_that_is_no_number_of_samples_is_refused(budget: str) -> None:
    with pytest.raises(OperatorError, match="not a number of samples"):
        samples_in(budget, 100)


def test_selecting_by_a_missing_column_names_the_command_that_computes_it(corpus: Corpus) -> None:
    with pytest.raises(CorpusError, match="no column 'ifd'") as error:
        select(corpus, TopK(score="ifd"), 3, name="x")
    assert error.value.fix == f"winnow score {corpus.path} ifd"


def test_asking_for_more_than_the_pool_has_says_how_many_there_are(corpus: Corpus) -> None:
    with pytest.raises(CorpusError, match="only 40"):
        select(corpus, Random(), 41, name="x")


def test_vectors_the_user_brings_are_put_to_their_samples(corpus: Corpus, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.eye(40, dtype=np.float32)[::-1])
    add_vectors(corpus, tmp_path / "v.npy", "n", name="mine")
    from curation.vectors import vectors_of

    vectors = vectors_of(corpus)
    numbers = dict(corpus.query("SELECT id, (metadata->>'n')::INT AS n FROM samples").iter_rows())
    for sample_id, row in zip(vectors.ids, vectors.matrix, strict=True):
        assert row.argmax() == 39 - numbers[sample_id]
    assert len(select(corpus, KCenter(), 5, name="spread").ids) == 5


@pytest.mark.parametrize("shape", [(39, 4), (40,)])
def test_vectors_that_do_not_fit_are_refused(corpus: Corpus, tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "v.npy", np.zeros(shape, np.float32))
    with pytest.raises(CorpusError):
        add_vectors(corpus, tmp_path / "v.npy", "n")


def test_a_selector_without_its_embedding_names_the_command(corpus: Corpus) -> None:
    with pytest.raises(CorpusError, match="no embedding") as error:
        select(corpus, KCenter(), 3, name="x")
    assert error.value.fix == f"winnow embed {corpus.path}"


def test_what_was_dropped_is_not_of_the_pool_and_not_counted_as_held_out(corpus: Corpus) -> None:
    score(corpus, Metadata(field="stars"))
    select(corpus, Random(), 3, name="s")
    drop(corpus, where="stars >= 20", reason="no")
    report = hold_out(corpus, "50%")
    assert (report.held_out, report.by_source) == (10, {"a": 5, "b": 5})
    assert corpus.count("held_out AND decision = 'drop'") == 0


def test_what_a_held_out_sample_asked_before_it_was_edited_may_be_chosen(corpus: Corpus) -> None:
    held = corpus.frame(["id"], where="instruction = 'q3'")["id"].to_list()
    corpus.hold_out(held)
    edit(corpus, held[0], instruction="something else")
    twin = pair("Q3 ", "another answer")
    corpus.add(to_frame([twin]))
    assert twin.id in select(corpus, Random(), 40, name="all").ids


def test_trap_19_contaminated_samples_are_left_unless_somebody_looked_and_kept_them(tmp_path: Path) -> None:
    samples = [pair(f"q{i}", f"a{i}", metadata={"leak": i < 3}) for i in range(8)]
    corpus = corpus_of(tmp_path / "c", samples)
    flags = pl.DataFrame({"id": [s.id for s in samples], "contaminated": [i < 3 for i in range(8)], "reason": None})
    corpus.begin_scoring("r", "contamination", "{}", None, {"contaminated": "BOOLEAN"})
    corpus.add_scores("r", "s", flags.with_columns(pl.col("reason").cast(pl.String)))
    corpus.refresh_scores()
    keep(corpus, ids=[samples[0].id])
    report = select(corpus, Random(), 6, name="clean")
    assert report.rejected == dict.fromkeys((s.id for s in samples[1:3]), "contaminated: it repeats a benchmark")


def embedded(corpus: Corpus, folder: Path) -> None:
    np.save(folder / "vectors.npy", np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32))
    add_vectors(corpus, folder / "vectors.npy", "stars", name="v")


class Watching(Selector):
    """Keeps the pool it was given. Source: none."""

    name: ClassVar[str] = "watching"
    target: str | None = None
    after: str | None = None
    seen: ClassVar[list[Pool]] = []

    needs_vectors: ClassVar[bool] = True

    @property
    def target_where(self) -> str | None:
        return self.target

    @property
    def begins_with(self) -> str | None:
        return self.after

    def select(self, pool: Pool, budget: int) -> Selection:
        self.seen.append(pool)
        return chosen(pool, range(budget), "watched")


def test_target_samples_are_given_as_vectors_and_are_never_candidates(corpus: Corpus, tmp_path: Path) -> None:
    embedded(corpus, tmp_path)
    report = select(corpus, Watching(target="source = 'a'"), 5, name="t")
    seen = Watching.seen[-1]
    assert seen.targets is not None
    assert (seen.targets.shape, set(seen.frame["source"])) == ((20, 4), {"b"})
    assert list(report.rejected.values()).count("it is one of the target samples") == 20


def test_a_condition_without_a_target_sample_is_told(corpus: Corpus, tmp_path: Path) -> None:
    embedded(corpus, tmp_path)
    with pytest.raises(CorpusError, match="No sample is a target"):
        select(corpus, Watching(target="source = 'c'"), 5, name="t")


def test_a_selection_to_go_on_from_is_given_as_rows_of_the_pool(corpus: Corpus, tmp_path: Path) -> None:
    embedded(corpus, tmp_path)
    first = select(corpus, Random(seed=3), 6, name="first").ids
    drop(corpus, ids=[first[0]], reason="no")
    select(corpus, Watching(after="first"), 8, name="second")
    seen = Watching.seen[-1]
    assert seen.given is not None
    assert [seen.frame["id"][int(row)] for row in seen.given] == first[1:]


def test_samples_and_targets_whose_vector_holds_no_numbers_are_left_with_that_reason(
    corpus: Corpus, tmp_path: Path
) -> None:
    embedded(corpus, tmp_path)
    score(corpus, Metadata(field="stars"))
    stored = vectors_of(corpus)
    ids = corpus.frame(["id", "stars"], order="stars")["id"].to_list()
    broken = [stored.ids.index(ids[n]) for n in (0, 1)]  # 0 is of source a, 1 of b
    matrix = np.array(stored.matrix)
    matrix[broken[0], 2], matrix[broken[1], 0] = np.nan, np.inf
    store(corpus.path / "embeddings" / "v", stored.ids, [matrix], {"name": "v", "model": "file", "text": "n"})
    assert select(corpus, KCenter(), 38, name="all").rejected == dict.fromkeys(ids[:2], "its vector holds no numbers")
    report = select(corpus, Watching(target="source = 'a'"), 5, name="t")
    seen = Watching.seen[-1]
    assert seen.targets is not None
    assert (len(seen.targets), len(seen.frame), report.rejected[ids[1]]) == (19, 19, "its vector holds no numbers")
    with pytest.raises(CorpusError, match="No target sample has a vector of finite numbers"):
        select(corpus, Watching(target="stars = 0"), 5, name="t")


def test_a_comma_parts_thousands_and_nothing_else_and_a_float_may_be_whole() -> None:
    assert [samples_in(b, 52_002) for b in ("1,500", "12,000,000", 500.0)] == [1500, 12_000_000, 500]
    for budget in ("1,5%", "1,5", "15,00", "1,5000", 0.5):
        with pytest.raises(OperatorError, match="not a number of samples"):
            samples_in(budget, 1000)


def test_a_share_that_comes_to_no_sample_is_told_as_that() -> None:
    with pytest.raises(OperatorError, match=r"0\.4% of 100 samples is none"):
        samples_in("0.4%", 100)


@pytest.mark.parametrize("selector", [TopK(score="quality"), Threshold(score="quality", min=0)])
def test_an_endless_score_is_no_score(selector: Selector) -> None:
    frame = pl.DataFrame({"id": ["a", "b", "c"], "source": ["s"] * 3, "quality": [float("inf"), 1.0, 2.0]})
    report = selector.select(Pool(frame), 2)
    assert (set(report.ids), report.rejected) == ({"b", "c"}, {"a": "no quality"})

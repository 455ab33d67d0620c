from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from curation.errors import OperatorError
from curation.operators import Pool
from curation.selectors.instag_diverse import InstagDiverse


def pool(*tags: Sequence[str] | None) -> Pool:
    ids = [f"{i:04d}" for i in range(len(tags))]
    frame = pl.DataFrame({"id": ids, "tags": tags}, schema={"id": pl.String, "tags": pl.List(pl.String)})
    return Pool(frame)


def chosen(of: Pool, budget: int) -> list[int]:
    return [int(i) for i in InstagDiverse(tags="tags").select(of, budget).ids]


def as_published(of: Pool, budget: int) -> list[int]:
    """Algorithm 1 of InsTag, line by line."""
    tags = [set(t or ()) for t in of.frame["tags"].to_list()]
    left = sorted(range(len(tags)), key=lambda row: -len(tags[row]))
    order: list[int] = []
    while len(order) < budget:
        seen: set[str] = set()
        for row in list(left):
            if tags[row] - seen:
                order.append(row)
                seen |= tags[row]
                left.remove(row)
            if len(order) == budget:
                break
    return order


def test_the_most_complex_come_first_and_each_brings_a_new_tag_in_its_pass() -> None:
    of = pool(["a"], ["a", "b", "c"], ["b", "c"], ["d"], ["c", "d"])
    # First pass: abc, then cd for its d; every tag is seen. Second pass: bc, a, d.
    assert chosen(of, 5) == [1, 4, 2, 0, 3]


def test_it_takes_what_the_published_loop_takes() -> None:
    rng = np.random.default_rng(1)
    tags = [[f"t{j}" for j in rng.zipf(1.5, rng.integers(1, 7)) % 60] for _ in range(400)]
    assert chosen(pool(*tags), 300) == as_published(pool(*tags), 300)


def test_trap_10_c_f_d_has_no_infinite_loop_with_untagged_rows() -> None:
    of = pool(None, ["a"], [], ["a", "b"])
    assert chosen(of, 2) == [3, 1]
    with pytest.raises(OperatorError, match="2 of 4 have a tag") as caught:
        chosen(of, 3)
    assert "at most 2" in caught.value.fix
    assert InstagDiverse(tags="tags").select(of, 1).rejected["0000"] == "no tag in tags"


def test_trap_10_c_f_d_resets_what_it_has_seen_in_every_pass() -> None:
    assert chosen(pool(["a"], ["a"], ["a", "b"], ["b"]), 4) == [2, 0, 3, 1]


def test_trap_10_c_f_d_is_deterministic_and_breaks_ties_by_id() -> None:
    of = pool(["b"], ["a"], ["c", "d"], ["a", "d"])
    assert chosen(of, 3) == chosen(of, 3) == [2, 3, 0]


def test_a_tag_that_is_written_twice_counts_once() -> None:
    assert chosen(pool(["a", "a", "a"], ["b", "c"]), 1) == [1]


def test_a_column_without_lists_says_which_would_do() -> None:
    frame = pl.DataFrame({"id": ["1"], "tags": ["a, b"]})
    with pytest.raises(OperatorError, match="holds no lists of tags but String"):
        InstagDiverse(tags="tags").select(Pool(frame), 1)

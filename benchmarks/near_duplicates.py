"""Near duplicates against the signatures alone of the libraries for them; and the rows found, against the truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measuring import alpaca, in_turn, missing, table

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

COPIES = 9
"""Perturbed copies of each row of Alpaca that make up the 520,020 rows."""


def run() -> None:
    """Alpaca, 52,002 rows: signatures of rensa and datasketch, and clusters with verified pairs."""
    file = alpaca()
    if file is None:
        missing("set ALPACA to the path of alpaca_data.json (52,002 rows)")
        return
    texts = read(file)
    _found(texts)
    _planted(texts)
    _timed(texts)
    _large(texts)


def read(file: Path) -> pl.Series:
    """Instruction, input and output of each row of Alpaca, a line each."""
    import polars as pl

    rows = json.loads(file.read_text())
    return pl.Series([f"{row['instruction']}\n{row['input']}\n{row['output']}" for row in rows])


def frame(texts: pl.Series) -> pl.DataFrame:
    """A batch as the scorer gets it, compared by `response`."""
    import polars as pl

    return pl.DataFrame({"id": pl.int_range(len(texts), eager=True).cast(pl.String), "response": texts}).with_columns(
        label=None, rejected=None
    )


def exact_pairs(texts: pl.Series, n: int, unit: str, threshold: float) -> set[tuple[int, int]]:
    """Every pair at or above the threshold, by a product of the sparse matrix of texts and shingles with itself."""
    import numpy as np
    from scipy.sparse import csr_array

    from curation.texts.shingles import shingle_sets

    sets = shingle_sets(texts, n, unit)  # type: ignore[arg-type]
    _, columns, counts = np.unique(sets.hashes, return_inverse=True, return_counts=True)
    shared = np.flatnonzero(counts[columns] > 1)
    rows = np.repeat(np.arange(len(sets)), sets.sizes)[shared]
    matrix = csr_array((np.ones(len(shared), np.int32), (rows, columns[shared])), shape=(len(sets), len(counts)))
    common = (matrix @ matrix.T).tocoo()
    left, right = common.coords
    union = sets.sizes[left] + sets.sizes[right] - common.data
    alike = (left < right) & (common.data >= threshold * union - 1e-9)
    return set(zip(left[alike].tolist(), right[alike].tolist(), strict=True))


def perturbed(text: str, share: float, generator: np.random.Generator) -> str:
    """The text with that share of its words (at least one) dropped, doubled or replaced by another of its words."""
    words = text.split(" ")
    for place in generator.choice(len(words), max(1, round(share * len(words))), replace=False):
        other = words[int(generator.integers(len(words)))]
        words[place] = ("", f"{words[place]} {other}", other)[int(generator.integers(3))]
    return " ".join(words)


def _found(texts: pl.Series) -> None:
    from curation.scorers import NearDuplicate

    for unit in ("whitespace", "word"):
        truth = exact_pairs(texts, 5, unit, 0.7)
        scorer = NearDuplicate.model_validate(
            {"text": "response", "n": 5, "threshold": 0.7, "keep": "first", "shingle": unit}
        )
        found = scorer.score(frame(texts))["near_duplicate"].sum()
        print(f"  5-grams ({unit}) at 0.7: {found} rows; self-join: {len(truth)} pairs, {_removed(truth)} rows")


def _removed(pairs: set[tuple[int, int]]) -> int:
    near: dict[int, set[int]] = {}
    for left, right in pairs:
        near.setdefault(right, set()).add(left)
    dropped: set[int] = set()
    for row in sorted(near):
        if near[row] - dropped:
            dropped.add(row)
    return len(dropped)


def _planted(texts: pl.Series) -> None:
    """Edited copies of 5,000 rows at the end: of those at or above the threshold, how many are dropped."""
    import numpy as np
    import polars as pl

    from curation.scorers import NearDuplicate
    from curation.texts.shingles import shingle_sets

    for threshold in (0.7, NearDuplicate().threshold):
        for share in (0.02, 0.05, 0.1):
            generator = np.random.default_rng(0)
            sources = generator.choice(len(texts), 5000, replace=False)
            copies = pl.Series([perturbed(texts[int(source)], share, generator) for source in sources])
            both = pl.concat([texts, copies])
            places = np.arange(len(texts), len(both))
            similarity = shingle_sets(both, 3).jaccard(sources, places)
            measured = NearDuplicate(text="response", keep="first", threshold=threshold).score(frame(both))
            dropped = measured["near_duplicate"].to_numpy()
            planted = (similarity >= threshold) & (similarity < 1)
            kept = measured["near_duplicate_of"].cast(pl.Int64).to_numpy()[dropped].astype(np.int64)
            right = shingle_sets(both, 3).jaccard(np.flatnonzero(dropped), kept) >= threshold - 1e-12
            print(
                f"  {share:4.0%} of words edited, threshold {threshold}: {planted.sum()} of 5,000 copies reach it;"
                f" recall {dropped[places][planted].mean():.4f}, precision {right.mean():.4f};"
                f" of all copies {dropped[places].mean():.3f}",
                flush=True,
            )


def _timed(texts: pl.Series) -> None:
    from curation.scorers import NearDuplicate

    batch = frame(texts)
    sides: dict[str, Callable[[], object]] = {}
    for n, threshold in ((3, 0.55), (3, 0.7), (5, 0.7)):
        scorer = NearDuplicate(text="response", n=n, threshold=threshold)
        sides[f"near-duplicate, {n} words at {threshold}"] = partial(scorer.score, batch)
    bound = next(iter(sides))
    for name, side in {
        RENSA: _rensa,
        "rensa: the same from our shingles": _rensa_flat,
        DATASKETCH: _datasketch,
    }.items():
        try:
            side(texts.head(10))
        except ImportError as error:
            missing(f"{name}: {error.name} is not installed (pip install 'winnow-studio[bench]')")
        else:
            sides[name] = partial(side, texts)
            bound = RENSA if name == RENSA else bound
    table(in_turn(sides, 3), bound)


RENSA = "rensa: signatures alone, 128 hashes"
DATASKETCH = "datasketch: signatures alone, 128 hashes"


def _shingled(texts: pl.Series) -> list[list[str]]:
    rows = texts.str.to_lowercase().str.split(" ").to_list()
    return [[" ".join(row[i : i + 5]) for i in range(max(1, len(row) - 4))] for row in rows]


def _rensa(texts: pl.Series) -> None:
    from rensa import RMinHash

    RMinHash.digest_matrix_from_token_sets(_shingled(texts), 128, 1)


def _rensa_flat(texts: pl.Series) -> None:
    import numpy as np
    from rensa import RMinHash

    from curation.texts.shingles import shingle_sets

    sets = shingle_sets(texts, 5)
    RMinHash.digest_matrix_from_flat_token_hashes(sets.hashes.astype(np.uint64), sets.starts.astype(np.uint64), 128, 1)


def _datasketch(texts: pl.Series) -> None:
    from datasketch import MinHash

    MinHash.bulk([[shingle.encode() for shingle in row] for row in _shingled(texts)], num_perm=128)


def _large(texts: pl.Series) -> None:
    """520,020 rows: Alpaca, and nine copies of it of which two thirds have 2 % of their words edited."""
    import resource

    import numpy as np
    import polars as pl

    from curation.scorers import NearDuplicate

    generator = np.random.default_rng(0)
    copies = [texts]
    for copy in range(COPIES):
        copies.append(
            texts if copy % 3 == 0 else texts.map_elements(lambda t: perturbed(t, 0.02, generator), pl.String)
        )
    batch = frame(pl.concat(copies))
    del copies
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    scorer = NearDuplicate(text="response", threshold=0.7, keep="first")
    seconds = in_turn({f"near-duplicate, {batch.height:,} rows": lambda: scorer.score(batch)}, 1)
    table(seconds, next(iter(seconds)))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"  peak memory {after:.2f} GiB, {before:.2f} GiB of it before it began")

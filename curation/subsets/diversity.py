"""How varied a set of samples is: metrics on vectors, texts and similarity matrices.

Each of them depends on how many samples are measured, so numbers of different sizes say nothing of each other:
`comparing` measures equal sizes, beside random samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from curation.errors import OperatorError
from curation.texts.overlap import WORD

NEIGHBOURS, DENSITY_POWER, DISTANCE_POWER = 10, 0.5, 1.0
"""Of NovelSum, as its authors use it (arXiv:2502.17184)."""
REGULARIZATION = 1e-9
"""Added to the mean distance, so that copies have a density."""
NEAR = 0.95
"""Cosine from which two samples are near duplicates."""
BLOCK_ENTRIES = 2**24
"""Distances that are in memory at once: 64 MB."""
FEW_PRODUCTS = 2**26
"""Products of numbers up to which cosines are added up in the reference's order; beyond, rounding evens out."""
WINDOW_LOG = 27
"""Of zstd: text is compared with the 128 MB before it. In the 32 KB of zlib no two distant samples would ever meet."""
UNIT_TOLERANCE = 1e-3
TOKEN = WORD + r"|[^\p{L}\p{M}\p{N}\s]"
"""A word or a punctuation mark."""


def novelsum(
    vectors: np.ndarray,
    reference: np.ndarray | None = None,
    *,
    neighbours: int = NEIGHBOURS,
    density_power: float = DENSITY_POWER,
    distance_power: float = DISTANCE_POWER,
) -> float:
    """NovelSum: how far samples are from each other, near ones counting most, more so in crowded regions.

    Source: Yang et al. 2025, arXiv:2502.17184; reference UmeanNever/NovelSum. A sample is weighted by its own density;
    its distances to all samples, itself at rank 1 included, are averaged with weights 1 / rank ** distance_power.

    Args:
        vectors: (samples, dimensions), of any length.
        reference: (samples, dimensions), the pool whose crowding counts; `vectors` when null. Copies count once.
        neighbours: in the reference, after the nearest, which is the sample itself.
        density_power: 0 leaves the density out.
        distance_power: 0 is the plain mean distance.

    Raises:
        OperatorError: no sample, or too few in the reference.
    """
    pool = vectors if reference is None else reference
    return novelty(vectors, densities(vectors, pool, neighbours, density_power), distance_power)


def novelty(vectors: np.ndarray, density: np.ndarray, distance_power: float = DISTANCE_POWER) -> float:
    """NovelSum for densities that are known already, one per row."""
    ranks = 1.0 / np.arange(1, len(vectors) + 1) ** float(distance_power)
    total = 0.0
    for start, distances in _cosine_distances(vectors):
        distances.sort(axis=1)
        total += float(density[start : start + len(distances)] @ (distances @ ranks))
    return total / (float(ranks.sum()) * len(vectors))


def densities(
    vectors: np.ndarray, reference: np.ndarray, neighbours: int = NEIGHBOURS, power: float = DENSITY_POWER
) -> np.ndarray:
    """How crowded the reference is around each row: the inverse mean squared L2 distance to its nearest, to a power.

    Raises:
        OperatorError: the reference has no more distinct rows than `neighbours`.
    """
    import faiss

    _some(vectors)
    distinct = np.unique(np.ascontiguousarray(reference, np.float32), axis=0)
    if len(distinct) <= neighbours:
        raise OperatorError(
            f"NovelSum asks for {neighbours} neighbours, but the reference has {len(distinct)} distinct vectors.",
            fix="measure it against a larger pool",
        )
    squared, _ = faiss.knn(np.ascontiguousarray(vectors, np.float32), distinct, neighbours + 1)
    mean = squared[:, 1:].astype(np.float64).mean(axis=1)
    found: np.ndarray = 1.0 / (np.maximum(mean, 0.0) + REGULARIZATION) ** power
    return found


def vendi(vectors: np.ndarray, q: float = 1.0) -> float:
    """The Vendi score of vectors under their cosine: the effective number of different samples, 1..len(vectors).

    Source: Friedman & Dieng 2023, arXiv:2210.02410; of order `q`: Pasarkar & Dieng 2024, arXiv:2310.12952. Where there
    are fewer dimensions than samples, the covariance has the same eigenvalues as the similarities, and is smaller.

    Differs from the source: the reference repository ignores `q` for vectors; here it counts.

    Args:
        vectors: (samples, dimensions); brought to unit length first, so that each is wholly similar to itself.
        q: 1 is Shannon's entropy; below, rare kinds count more; infinity looks at the largest eigenvalue alone.

    Raises:
        OperatorError: no sample, a vector without length, or q is negative.
    """
    _some(vectors)
    unit = np.asarray(vectors, np.float64)
    norms = np.linalg.norm(unit, axis=1, keepdims=True)
    if not (norms > 0).all():
        raise OperatorError(
            f"{int((norms <= 0).sum())} vectors have no length, so no cosine.", fix="leave those samples out"
        )
    unit = unit / norms
    rows, dimensions = unit.shape
    matrix = unit.T @ unit if dimensions < rows else unit @ unit.T
    return _effective(np.linalg.eigvalsh(matrix / rows), q)


def vendi_of_similarities(similarities: np.ndarray, q: float = 1.0) -> float:
    """The Vendi score of a matrix of similarities, 1..rows.

    Args:
        similarities: (samples, samples), symmetric, positive semidefinite, 1 on the diagonal.
        q: as of `vendi`.

    Raises:
        OperatorError: it is no such matrix.
    """
    matrix = np.asarray(similarities, np.float64)
    if matrix.ndim != 2 or not len(matrix) or matrix.shape[0] != matrix.shape[1]:
        raise OperatorError(f"Similarities of shape {matrix.shape} are no square.", fix="give one row per sample")
    if np.abs(matrix.diagonal() - 1).max() > UNIT_TOLERANCE:
        raise OperatorError("A sample is not wholly similar to itself.", fix="divide by the root of both diagonals")
    if np.abs(matrix - matrix.T).max() > UNIT_TOLERANCE:
        raise OperatorError("The similarities are not symmetric.", fix="average the matrix with its transpose")
    return _effective(np.linalg.eigvalsh(matrix / len(matrix)), q)


def ngram_vendi(texts: Sequence[str], sizes: Sequence[int] = (1, 2), q: float = 1.0) -> float:
    """The Vendi score of texts under the mean cosine of their counts of n-grams, 1..len(texts).

    What is counted are words and punctuation marks, upper and lower case apart, as in the reference. A text too short
    for an n-gram is like itself only.
    """
    tokens = pl.Series(list(texts), dtype=pl.String).str.extract_all(TOKEN).to_list()
    return vendi_of_similarities(np.mean([_ngram_cosines(tokens, n) for n in sizes], axis=0), q)


def nearest_distances(vectors: np.ndarray) -> np.ndarray:
    """Of each row, the cosine distance (0..2) to the nearest other row; NaN for a single one."""
    _some(vectors)
    nearest = np.full(len(vectors), np.nan)
    if len(vectors) == 1:
        return nearest
    for start, distances in _cosine_distances(vectors):
        own = np.arange(len(distances))
        distances[own, start + own] = np.inf
        nearest[start : start + len(distances)] = distances.min(axis=1)
    found: np.ndarray = np.maximum(nearest, 0.0)
    return found


def near_duplicate_rate(distances: np.ndarray, cosine: float = NEAR) -> float:
    """Share of samples, 0..1, that have another one at this cosine or above.

    Args:
        distances: of each sample to its nearest other one, as `nearest_distances` gives them.
        cosine: -1..1.
    """
    _some(distances)
    # The cosine of two single-precision vectors is good to six digits.
    return float(np.mean(distances <= 1.0 - cosine + 1e-6))


def compression_ratio(texts: Sequence[str]) -> float:
    """Bytes of the texts, one below the other, by their bytes when compressed: the higher, the more they repeat.

    Source: Shaib et al. 2024, arXiv:2403.00553.

    Differs from the source: zstd with a window of 128 MB instead of gzip's 32 KB, so that samples far apart meet too.

    Raises:
        OperatorError: no text.
    """
    import zstandard

    whole = "\n".join(texts).encode("utf-8", "replace")
    if not whole:
        raise OperatorError("There is no text to compress.", fix="choose samples that hold text")
    settings = zstandard.ZstdCompressionParameters.from_level(3, window_log=WINDOW_LOG, enable_ldm=True)
    return len(whole) / len(zstandard.ZstdCompressor(compression_params=settings).compress(whole))


def distinct_ngrams(words: Sequence[str], n: int = 2) -> float | None:
    """Share of different n-grams among all of a text's, 0..1; null where there is none.

    It falls with length: compare texts that were cut to equally many words.
    """
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else None


def _some(rows: np.ndarray) -> None:
    if not len(rows):
        raise OperatorError("There is no sample to measure.", fix="choose at least one sample")


def _effective(eigenvalues: np.ndarray, q: float) -> float:
    if not q >= 0:
        raise OperatorError(f"The order {q} of a Vendi score is negative.", fix="give 0 or more; 1 is the usual one")
    shares = eigenvalues[eigenvalues > 1e-12]
    shares = shares / shares.sum()
    if q == 1:
        return float(np.exp(-(shares * np.log(shares)).sum()))
    if math.isinf(q):
        return float(1.0 / shares.max())
    return float((shares**q).sum() ** (1.0 / (1.0 - q)))


def _cosine_distances(vectors: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks of rows of the matrix of cosine distances: the first row's number, float32 (rows, samples)."""
    _some(vectors)
    unit = _unit_in_single_precision(vectors)
    own = _products(unit, unit)
    few = len(unit) ** 2 * unit.shape[1] <= FEW_PRODUCTS
    rows = max(1, BLOCK_ENTRIES // len(unit))
    for start in range(0, len(unit), rows):
        block = unit[start : start + rows]
        if few:
            cosines = np.stack([_products(unit, row) for row in block])
        else:
            cosines = block @ unit.T
            here = np.arange(len(block))
            cosines[here, start + here] = own[start : start + rows]
        yield start, np.subtract(np.float32(1), cosines, out=cosines)


def _unit_in_single_precision(vectors: np.ndarray) -> np.ndarray:
    """Unit vectors, filled up with zeros to a multiple of 32 dimensions.

    A vector's cosine to itself is then 1 but for about 1e-7 of rounding, and NovelSum gives it most weight, at rank 1.
    To agree with the reference in the ninth digit, lengths and products are rounded in its order of additions: eight
    running sums for a length, four times eight for a product.
    """
    padded = np.zeros((len(vectors), vectors.shape[1] + -vectors.shape[1] % 32), np.float32)
    padded[:, : vectors.shape[1]] = vectors
    norms = np.sqrt(_summed(_summed((padded * padded).reshape(len(vectors), -1, 8))))
    unit: np.ndarray = padded / np.where(norms > 0, norms, np.float32(1))[:, None]
    return unit


def _products(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    return _summed(_summed(_summed((rows * others).reshape(len(rows), -1, 4, 8))))


def _summed(parts: np.ndarray) -> np.ndarray:
    """The sum over the second axis, from the first to the last (numpy's own adds in pairs)."""
    total = parts[:, 0].copy()
    for i in range(1, parts.shape[1]):
        total += parts[:, i]
    return total


def _ngram_cosines(words: Sequence[Sequence[str]], n: int) -> np.ndarray:
    # Nearly every cell of texts by n-grams is 0: held whole, a few thousand texts would take gigabytes.
    from scipy.sparse import csr_array, diags_array

    grams = [[tuple(text[i : i + n]) for i in range(len(text) - n + 1)] for text in words]
    numbers = {gram: i for i, gram in enumerate(dict.fromkeys(g for text in grams for g in text))}
    places = np.array([numbers[gram] for text in grams for gram in text], np.int64)
    starts = np.concatenate([[0], np.cumsum([len(text) for text in grams])])
    counts = csr_array((np.ones(len(places)), places, starts), shape=(len(words), len(numbers) + 1))
    counts.sum_duplicates()
    norms = np.sqrt(counts.multiply(counts).sum(axis=1))
    unit = diags_array(1.0 / np.where(norms > 0, norms, 1.0)) @ counts
    cosines: np.ndarray = (unit @ unit.T).toarray()
    np.fill_diagonal(cosines, 1.0)
    return cosines

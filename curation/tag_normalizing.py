"""Open tags brought to one spelling, one tag for one meaning; what became of every tag can be read and corrected.

The four steps of InsTag: rare tags are left out; spellings that differ in case, marks or endings are one; so are tags
of nearly equal vectors; and a tag that hardly ever comes without another becomes that other.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.errors import CorpusError, OperatorError
from curation.subsets.tag_lists import TagLists, tag_lists
from curation.subsets.tag_similarity import NONE, cosines, cosines_from, tag_vectors

if TYPE_CHECKING:
    import polars as pl
    from scipy.sparse import csr_matrix

    from curation.corpus import Corpus

FOLDER = "tags"
"""In the corpus folder: one file of aliases for each way of normalising."""
SMALL_POOL, FEW, MANY = 50_000, 2, 20
"""A tag of fewer samples is rare: the paper's 20 for its 306,044, where in a small pool it would leave almost none."""
EVERYWHERE = 0.5
"""A tag that so large a share of the samples has takes no other in: nearly all come with it by chance."""

_MARKS = re.compile(r"[^\w+#]|_|(?<![\w+#])[+#]+")
_BETWEEN_HAN = re.compile(r"(?<=[\u3400-\u9fff])\s+(?=[\u3400-\u9fff])")


@dataclass(frozen=True)
class Merge:
    """One step that made a tag into another."""

    step: str
    """frequency, rules, semantic, association or correction."""
    into: str | None
    """The tag it became; null: it was left out."""
    similarity: float | None = None
    """Cosine to `into`, -1..1, of the semantic step."""
    diameter: float | None = None
    """Largest cosine distance between two tags that were merged with it, 0..2, of the semantic step."""
    support: int | None = None
    """Samples that have both tags, of the association step."""
    confidence: float | None = None
    """Share of its samples that have `into` too, 0..1, of the association step."""


@dataclass(frozen=True)
class Alias:
    """What became of a tag."""

    tag: str
    canonical: str | None
    """The most frequent of the tags it was merged with, as it was spelt; null: left out."""
    count: int
    """Samples that have the tag as it was."""
    merges: tuple[Merge, ...] = ()
    """Step by step; none where the tag stayed itself."""


@dataclass(frozen=True)
class Normalization:
    """The steps' parameters; see the scorer `instag-normalized`."""

    min_count: int | None = None
    model: str = "lexical"
    distance: float = 0.05
    max_diameter: float | None = 0.1
    min_support: int | None = 40
    min_confidence: float = 0.99


def normalized(
    tags: pl.Series, how: Normalization | None = None, corrections: Mapping[str, str | None] | None = None
) -> list[Alias]:
    """What becomes of every tag, sorted by tag.

    Args:
        tags: List(String), the tags of each sample.
        how: the steps' parameters.
        corrections: tag -> what it shall be (null: nothing), which outranks the steps. A correction of a canonical tag
            goes for all that became it and have no correction of their own.

    Raises:
        ModelError: the encoder can't be opened.
    """
    merging = _Merging(tag_lists(tags), how or Normalization())
    merging.leave_rare()
    merging.by_rules()
    merging.by_meaning()
    merging.by_association()
    return [_corrected(alias, corrections or {}) for alias in merging.aliases()]


def _corrected(alias: Alias, corrections: Mapping[str, str | None]) -> Alias:
    for name in (alias.tag, alias.canonical):
        if name is not None and name in corrections:
            now = corrections[name]
            if now == alias.canonical:
                return alias
            return Alias(alias.tag, now, alias.count, (*alias.merges, Merge("correction", now)))
    return alias


def applied(tags: pl.Series, aliases: Sequence[Alias]) -> pl.Series:
    """The lists with every tag in its canonical form, each once, in the order they had; null stays null."""
    import polars as pl

    known = pl.DataFrame(
        [(alias.tag, alias.canonical) for alias in aliases if alias.canonical is not None],
        schema={"tag": pl.String, "canonical": pl.String},
        orient="row",
    )
    rows = pl.DataFrame({"row": np.arange(len(tags)), "tag": tags.cast(pl.List(pl.String))})
    long = rows.explode("tag").join(known, on="tag", maintain_order="left")
    found = long.group_by("row", maintain_order=True).agg(pl.col("canonical").unique(maintain_order=True))
    joined = rows.join(found, on="row", how="left", maintain_order="left")
    none = pl.lit([], dtype=pl.List(pl.String))
    lists = pl.when(pl.col("tag").is_not_null()).then(pl.coalesce("canonical", none))
    return joined.select(lists.alias(tags.name)).to_series()


def spelling(tag: str) -> str:
    """The form by which spellings are compared: lower case, no marks, English words by their stems.

    A `+` or `#` after a letter stays: C, C++ and C# are three tags.
    """
    plain = _MARKS.sub(" ", unicodedata.normalize("NFKC", tag).casefold())
    return " ".join(_stemmer()(word) for word in _BETWEEN_HAN.sub("", plain).split())


_STEMMER: list[Callable[[str], str]] = []


def _stemmer() -> Callable[[str], str]:
    if not _STEMMER:
        import snowballstemmer

        _STEMMER.append(snowballstemmer.stemmer("english").stemWord)
    return _STEMMER[0]


class _Merging:
    """The tags of a pool on their way to their canonical ones."""

    def __init__(self, lists: TagLists, how: Normalization) -> None:
        self.how = how
        self.names = lists.names
        self.counts = np.bincount(lists.codes, minlength=len(lists.names))
        """Samples of each tag as it was."""
        self.matrix: csr_matrix = lists.matrix()
        """(samples, tags), 1 where a sample has a tag as it is now."""
        self.now = self.counts
        """Samples of each tag as they are now."""
        self.samples = len(lists.starts) - 1
        self.merges: dict[int, tuple[int | None, Merge]] = {}
        """tag -> the tag it became next."""

    def aliases(self) -> list[Alias]:
        """What became of every tag."""
        return [self._alias(tag) for tag in range(len(self.names))]

    def _alias(self, tag: int) -> Alias:
        path: list[Merge] = []
        at: int | None = tag
        while at is not None and at in self.merges:
            at, merge = self.merges[at]
            path.append(merge)
        canonical = None if at is None else self.names[at]
        return Alias(self.names[tag], canonical, int(self.counts[tag]), tuple(path))

    def leave_rare(self) -> None:
        """Tags of too few samples."""
        least = self.how.min_count or (FEW if self.samples < SMALL_POOL else MANY)
        for tag in np.flatnonzero(self.counts < least):
            self.merges[int(tag)] = (None, Merge("frequency", None))
        self._recount()

    def by_rules(self) -> None:
        """Tags that are spelt the same."""
        groups: dict[str, list[int]] = {}
        for tag in self._left():
            groups.setdefault(spelling(self.names[tag]), []).append(tag)
        for tag in groups.pop("", []):
            self.merges[tag] = (None, Merge("rules", None))  # nothing but marks
        for members in groups.values():
            into = self._most_frequent(members)
            self.merges |= {tag: (into, Merge("rules", self.names[into])) for tag in members if tag != into}
        self._recount()

    def by_meaning(self) -> None:
        """Tags with nearly equal vectors."""
        left = self._left()
        if self.how.model == NONE or len(left) < 2:
            return
        vectors = tag_vectors([" ".join(self.names[tag].split()) for tag in left], self.how.model)
        for members, apart in clusters(vectors, self.how.distance, self.how.max_diameter):
            into = self._most_frequent([left[i] for i in members])
            to_it = apart[[left[i] for i in members].index(into)]
            diameter = round(float(apart.max()), 4)
            for i, distance in zip(members, to_it, strict=True):
                if left[i] != into:
                    alike = round(1 - float(distance), 4)
                    self.merges[left[i]] = (into, Merge("semantic", self.names[into], alike, diameter))
        self._recount()

    def by_association(self) -> None:
        """Tags that nearly always come with another; what became one may then come with a third."""
        while self.how.min_support is not None and self._associated():
            self._recount()

    def _associated(self) -> bool:
        together = (self.matrix.T @ self.matrix).tocoo()
        of, one, other, both = self.now, together.row, together.col, together.data
        confidence = both / of[one]
        implied = (one != other) & (both >= (self.how.min_support or 1)) & (confidence >= self.how.min_confidence)
        rarer = (of[one] < of[other]) | ((of[one] == of[other]) & (one > other))
        found = np.flatnonzero(implied & rarer & (of[other] < EVERYWHERE * self.samples))
        # Of several the surest; of those the rarest, which says the most.
        found = found[np.lexsort((other[found], of[other[found]], -confidence[found], one[found]))]
        firsts = found[np.unique(one[found], return_index=True)[1]]
        for i in firsts:
            into, sure = int(other[i]), round(float(confidence[i]), 4)
            merge = Merge("association", self.names[into], support=int(both[i]), confidence=sure)
            self.merges[int(one[i])] = (into, merge)
        return bool(len(firsts))

    def _left(self) -> list[int]:
        return [tag for tag in range(len(self.names)) if tag not in self.merges]

    def _most_frequent(self, tags: Sequence[int]) -> int:
        """By the samples that have it now; of equally frequent ones the first in the alphabet."""
        return min(tags, key=lambda tag: (-self.now[tag], tag))

    def _recount(self) -> None:
        """Bring the matrix up to date: what a sample has now, each tag once."""
        from scipy.sparse import csr_matrix

        size = len(self.names)
        cells = [(tag, end) for tag in range(size) if (end := self._end(tag)) is not None]
        rows, columns = np.array(cells, np.int64).reshape(-1, 2).T
        self.matrix = (self.matrix @ csr_matrix((np.ones(len(cells)), (rows, columns)), shape=(size, size))).tocsr()
        self.matrix.data[:] = 1
        self.now = np.bincount(self.matrix.indices, minlength=size)

    def _end(self, tag: int) -> int | None:
        at: int | None = tag
        while at is not None and at in self.merges:
            at = self.merges[at][0]
        return at


def clusters(vectors: Any, distance: float, max_diameter: float | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """DBSCAN with no noise: rows are together that a chain of small steps joins; chains that lead too far are cut.

    Args:
        vectors: unit vectors, dense or sparse.
        distance: cosine distance of a step, at most; 0..2.
        max_diameter: a cluster in which two rows are farther apart is divided by complete linkage; null: never.

    Returns:
        for each cluster of two and more, its rows, ascending, and the cosine distances between them.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial.distance import squareform

    _, labels = connected_components(cosines_from(vectors, 1 - distance), directed=False)
    found = []
    for members in _together(labels):
        apart = np.clip(1 - cosines(vectors[members], vectors[members]), 0, 2)
        np.fill_diagonal(apart, 0)
        if max_diameter is None or apart.max() <= max_diameter:
            found.append((members, apart))
            continue
        cut = fcluster(linkage(squareform(apart, checks=False), "complete"), max_diameter, "distance")
        found += [(members[part], apart[np.ix_(part, part)]) for part in _together(cut)]
    return found


def _together(labels: np.ndarray) -> list[np.ndarray]:
    """Rows of equal labels, where there are two or more of them."""
    order = np.argsort(labels, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    return [part for part in parts if len(part) > 1]


# ------------------------------------------------------------------------------------------------ files of aliases


def alias_file(folder: Path, operator: str) -> Path:
    """Where the aliases of this scorer lie in a corpus folder.

    Args:
        folder: of the corpus.
        operator: the scorer's name and parameters as JSON.
    """
    return folder / FOLDER / f"{hashlib.sha256(operator.encode()).hexdigest()[:12]}.jsonl"


def save_aliases(path: Path, aliases: Sequence[Alias]) -> None:
    """Write one JSON object per tag, the most frequent first, as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    with unfinished.open("w", encoding="utf-8") as file:
        for alias in sorted(aliases, key=lambda a: (-a.count, a.tag)):
            merges = [{k: v for k, v in asdict(m).items() if v is not None or k == "into"} for m in alias.merges]
            line = {"tag": alias.tag, "canonical": alias.canonical, "count": alias.count, "merges": merges}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    unfinished.replace(path)


def aliases(corpus: Corpus) -> list[Alias]:
    """What became of every tag when the corpus' tags were last normalised; the most frequent tags first.

    Raises:
        CorpusError: they never were.
    """
    last = next((run for run in corpus.score_runs() if run.scorer == "instag-normalized"), None)
    path = alias_file(corpus.path, last.operator) if last else None
    if path is None or not path.is_file():
        raise CorpusError(
            "The tags of this corpus have not been normalised.", fix=f"winnow score {corpus.path} instag-normalized"
        )
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [Alias(**{**line, "merges": tuple(Merge(**merge) for merge in line["merges"])}) for line in lines]


def corrections_in(path: Path) -> dict[str, str | None]:
    """A user's file: one JSON object `{"tag": "canonical", ...}`, or one line `{"tag": ..., "canonical": ...}` each.

    A file of aliases that was written here and then edited will do too: lines that say the same change nothing.

    Raises:
        OperatorError: it can't be read, or holds something else.
    """
    try:
        text = path.expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(f"The corrections {path} can't be read: {error}.", fix="give the path of a file") from None
    whole = _json(text)
    if isinstance(whole, dict) and not {"tag", "canonical"} <= whole.keys():
        return _checked(whole, str(path))
    found: dict[str, str | None] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            value = _json(line)
            known = isinstance(value, dict) and {"tag", "canonical"} <= value.keys()
            found |= _checked({value["tag"]: value["canonical"]} if known else None, f"{path}:{number}")
    return found


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _checked(found: Any, where: str) -> dict[str, str | None]:
    if not isinstance(found, dict) or not all(v is None or isinstance(v, str) for v in found.values()):
        raise OperatorError(
            f"{where} is no correction of tags.",
            fix='write lines such as {"tag": "maths", "canonical": "Mathematics"}; null leaves a tag out',
        )
    return {str(tag): canonical for tag, canonical in found.items()}

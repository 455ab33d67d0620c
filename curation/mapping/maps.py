"""Maps: two coordinates for every sample of an embedding, and clusters with titles, kept beside the vectors.

embeddings/NAME/map/KEY/xy-N.npy           float32 (samples, 2), 0 to 1
embeddings/NAME/map/KEY/ids-N.npy          the sample of each row
embeddings/NAME/map/KEY/clusters-N.npy     int32, the cluster of each row
embeddings/NAME/map/KEY/fit-N.npz          how a vector comes into the space that neighbours are found in
embeddings/NAME/map/KEY/about.json         parameters, titles, and the number N
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curation.corpus import Corpus
from curation.errors import CorpusError, OperatorError, unknown
from curation.mapping import titles as naming
from curation.mapping.projecting import METHODS, components, fit_space, laid_out, placed
from curation.mapping.titles import Title
from curation.progress import Progress, silent
from curation.storage.sql import run_id, working
from curation.subsets.candidates import all_finite
from curation.subsets.k_means import k_means
from curation.vectors import Vectors, vectors_of

WORDS = "words"
"""What titles are made of unless a chat model is named."""
MOST_CLUSTERS = 40
"""Unless the user asks for more: so many titles can be read on one map."""
FEW_ROWS, MANY_TRIES, FEW_TRIES = 10_000, 10, 3
"""Up to so many samples clusters are looked for from so many beginnings; beyond, from fewer: it takes longer, and with
many samples in every cluster the beginning matters less."""
EDGE = 0.001
"""Share of the points on each side that may lie beyond the frame's inner edge, so that a stray one does not shrink the
others to a spot."""
TEXT = "left(instruction, 600) || ' ' || left(response, 300)"
"""What titles are made from."""


@dataclass(frozen=True)
class MapSpec:
    """What a map is made with; equal parameters, equal map."""

    method: str = "tsne"
    clusters: int | None = None
    """About one for every 25 samples at first, fewer and fewer of more, when null."""
    titles: str = WORDS
    where: str | None = None
    seed: int = 0

    @property
    def key(self) -> str:
        """The folder's name: what the places depend on."""
        return f"{self.method}-{run_id(str(self.seed), self.where)}"


@dataclass(frozen=True)
class Map:
    """A stored map."""

    embedding: str
    spec: MapSpec
    ids: list[str]
    xy: np.ndarray
    """float32 (samples, 2), 0 to 1, row i is of `ids[i]`; y grows upwards."""
    clusters: np.ndarray
    """int32 per row."""
    titles: tuple[Title, ...]
    number: int
    """Grows with every change."""

    @cached_property
    def middles(self) -> np.ndarray:
        """Where each cluster's title stands: the median of its samples, float32 (clusters, 2); NaN of one without."""
        found = np.full((len(self.titles), 2), np.nan, np.float32)
        order = np.argsort(self.clusters, kind="stable")
        ends = np.searchsorted(self.clusters[order], np.arange(len(self.titles) + 1))
        for cluster, (start, end) in enumerate(pairwise(ends)):
            if end > start:
                found[cluster] = np.median(self.xy[order[start:end]], axis=0)
        return found


@dataclass(frozen=True)
class MapReport:
    """A map as it stands now."""

    embedding: str
    method: str
    samples: int
    added: int
    """Samples that were put on it in this call."""
    moved: bool
    """Whether it was laid out anew; else what lay there lies where it lay."""
    clusters: dict[str, int]
    """Title -> samples, the largest first."""
    without_title: int = 0
    """Clusters that the chat model gave no title for; they have their words."""


def make_map(
    corpus: Corpus,
    spec: MapSpec | None = None,
    *,
    embedding: str | None = None,
    anew: bool = False,
    progress: Progress = silent,
) -> MapReport:
    """Lay out the samples of an embedding. Again: samples that came since are added, and none of the others moves.

    Args:
        corpus: whose embedding.
        spec: the parameters.
        embedding: which one; the latest when null.
        anew: forget where the samples lie.
        progress: told the steps.

    Raises:
        CorpusError: there is no embedding, no such method, or no sample to lay out.
        OperatorError: the number of clusters is none.
    """
    spec = spec or MapSpec()
    if spec.method not in METHODS:
        raise unknown("method", spec.method, METHODS, CorpusError)
    if spec.clusters is not None and spec.clusters < 1:
        raise OperatorError(f"{spec.clusters} clusters can't be made.", fix="ask for at least 1: --clusters 1")
    vectors = vectors_of(corpus, embedding)
    progress(0, None, "reading the vectors")
    rows, ids = _wanted(corpus, vectors, spec.where)
    folder = _folder(corpus, vectors.name, spec)
    old = None if anew else _stored(folder)
    known = {i: row for row, i in enumerate(old.ids)} if old else {}
    fresh = [i for i in ids if i not in known]
    moved = old is None or len(fresh) > len(known)
    if old is not None and not fresh and _same(old.spec, spec):
        return _report(old, 0, False, 0)
    matrix = np.asarray(vectors.matrix[rows], np.float32)
    if moved:
        fit = components(matrix)
        fitted = fit_space(matrix, *fit)
        xy = _framed(laid_out(fitted, spec.method, seed=spec.seed, progress=progress))
    else:
        assert old is not None
        fit = _fit(folder, old.number)
        fitted, xy = _added(old, ids, fit_space(matrix, *fit))
    found = _named(corpus, vectors.name, spec, ids, xy, fitted, progress)
    made = replace(found[0], number=old.number + 1 if old else 1)
    _store(folder, made, fit)
    return _report(made, len(fresh), moved, found[1])


def _wanted(corpus: Corpus, vectors: Vectors, where: str | None) -> tuple[np.ndarray, list[str]]:
    """Rows of the embedding whose samples the map is of, and their ids; versions that were replaced stay out."""
    current = corpus.frame(["id"], where=working(where) if where else None)
    place = pl.DataFrame({"id": vectors.ids}).with_row_index("row").join(current, on="id", how="semi").sort("row")
    rows = place["row"].to_numpy().astype(np.int64)
    rows = rows[all_finite(vectors.matrix[rows])] if len(rows) else rows
    if not len(rows):
        raise CorpusError(
            f"No sample of the working set has a vector in the embedding {vectors.name!r}.",
            fix=f"winnow embed {corpus.path}",
        )
    return rows, [vectors.ids[row] for row in rows]


def _same(one: MapSpec, other: MapSpec) -> bool:
    return (one.clusters, one.titles) == (other.clusters, other.titles)


def _added(old: Map, ids: Sequence[str], fitted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The fit space again, and places: of the known samples the old ones, of the others amid their neighbours."""
    at = pl.DataFrame({"id": ids}).join(
        pl.DataFrame({"id": old.ids}).with_row_index("row"), on="id", how="left", maintain_order="left"
    )["row"]
    is_known = at.is_not_null().to_numpy()
    xy = np.empty((len(ids), 2), np.float32)
    xy[is_known] = old.xy[at.drop_nulls().to_numpy()]
    if not is_known.all():
        xy[~is_known] = placed(fitted[~is_known], np.ascontiguousarray(fitted[is_known]), xy[is_known])
    return fitted, xy


def _framed(xy: np.ndarray) -> np.ndarray:
    """The places within 0 to 1, both axes by the same measure, the longer one across; stray ones come to the edge."""
    mean, axes = components(xy, 2)
    xy = fit_space(xy, mean, axes)
    low, high = np.quantile(xy, EDGE, axis=0), np.quantile(xy, 1 - EDGE, axis=0)
    size = max(float((high - low).max()), 1e-9)
    middle = (low + high) / 2
    framed: np.ndarray = np.clip((xy - middle) / (size * 1.06) + 0.5, 0, 1).astype(np.float32)
    return framed


def _named(
    corpus: Corpus,
    embedding: str,
    spec: MapSpec,
    ids: list[str],
    xy: np.ndarray,
    fitted: np.ndarray,
    progress: Progress,
) -> tuple[Map, int]:
    """The map with clusters and titles, and how many a chat model gave none for."""
    count = min(spec.clusters or usual_clusters(len(ids)), len(ids))
    progress(0, None, f"finding {count:,} clusters")
    labels, near = _clustered(fitted, count, spec.seed)
    labels, count = _by_size(labels, count)
    progress(0, None, "finding titles")
    titles, failed = _titled(corpus, spec, ids, labels, near, count)
    return Map(embedding, spec, ids, xy, labels.astype(np.int32), tuple(titles), 0), failed


def _titled(
    corpus: Corpus, spec: MapSpec, ids: list[str], labels: np.ndarray, near: np.ndarray, count: int
) -> tuple[list[Title], int]:
    """Titles, and how many a chat model gave none for; of a large cluster only some texts are read."""
    asks = spec.titles != WORDS
    typical = [_typical(labels, near, cluster) for cluster in range(count)] if asks else []
    rows = np.unique(np.concatenate([naming.drawn(labels, count, spec.seed), *typical]))
    texts = corpus.run(
        f"SELECT {TEXT} AS text FROM placed_frame LEFT JOIN samples USING (id) ORDER BY placed_frame.place",
        frames={"placed_frame": pl.DataFrame({"id": [ids[row] for row in rows]}).with_row_index("place")},
    )["text"]
    titles = naming.by_words(texts, labels[rows], count, np.bincount(labels, minlength=count))
    if not asks:
        return titles, 0
    shown = [texts.gather(np.searchsorted(rows, own)).fill_null("").to_list() for own in typical]
    return naming.by_model(spec.titles, shown, titles, calls=corpus.path / "calls.sqlite")


def _clustered(fitted: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The cluster of each row and how near its middle is, by cosine: of several beginnings the best."""
    tries = FEW_TRIES if len(fitted) > FEW_ROWS else MANY_TRIES
    found = (k_means(fitted, count, seed=seed + n, spherical=True) for n in range(tries))
    return max(found, key=lambda labels_near: float(labels_near[1].sum(dtype=np.float64)))


def usual_clusters(samples: int) -> int:
    """How many clusters a map has when the user does not say: 4 to `MOST_CLUSTERS`."""
    return max(min(4, samples), min(MOST_CLUSTERS, round(2 * math.sqrt(samples / 25))))


def _by_size(labels: np.ndarray, count: int) -> tuple[np.ndarray, int]:
    """Clusters numbered from the largest, without those that hold nothing."""
    sizes = np.bincount(labels, minlength=count)
    order = np.argsort(-sizes, kind="stable")
    number = np.empty(count, np.int64)
    number[order] = np.arange(count)
    return number[labels], int((sizes > 0).sum())


def _typical(labels: np.ndarray, near: np.ndarray, cluster: int) -> np.ndarray:
    rows = np.flatnonzero(labels == cluster)
    return rows[np.argsort(-near[rows], kind="stable")[: naming.SHOWN]]


def _report(made: Map, added: int, moved: bool, failed: int) -> MapReport:
    sizes = np.bincount(made.clusters, minlength=len(made.titles))
    told: dict[str, int] = {}
    for number, (title, size) in enumerate(zip(made.titles, sizes, strict=True), 1):
        text = title.text or f"cluster {number}"
        told[text if text not in told else f"{text} ({number})"] = int(size)
    return MapReport(made.embedding, made.spec.method, len(made.ids), added, moved, told, failed)


# -------------------------------------------------------------------- on disk


def maps_of(corpus: Corpus, embedding: str) -> list[MapSpec]:
    """The maps of an embedding, the latest first."""
    files = (corpus.path / "embeddings" / embedding / "map").glob("*/about.json")
    latest = sorted(files, key=lambda path: path.stat().st_mtime, reverse=True)
    return [MapSpec(**json.loads(path.read_text(encoding="utf-8"))["spec"]) for path in latest]


def stored_map(corpus: Corpus, embedding: str, spec: MapSpec) -> Map | None:
    """A map that `make_map` has made; null where there is none."""
    return _stored(_folder(corpus, embedding, spec))


def map_version(corpus: Corpus, embedding: str, spec: MapSpec) -> int:
    """The number of a stored map, which grows with every change; 0 where there is none."""
    path = _folder(corpus, embedding, spec) / "about.json"
    about = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"number": 0}
    return int(about["number"])


def preview(corpus: Corpus, embedding: str) -> Map:
    """The principal components of an embedding, at once and without clusters: what there is to see before a map is."""
    vectors = vectors_of(corpus, embedding)
    rows, ids = _wanted(corpus, vectors, None)
    matrix = np.asarray(vectors.matrix[rows], np.float32)
    xy = _framed(fit_space(matrix, *components(matrix, 2)))
    return Map(vectors.name, MapSpec("pca"), ids, xy, np.zeros(len(ids), np.int32), (), 0)


def _folder(corpus: Corpus, embedding: str, spec: MapSpec) -> Path:
    return corpus.path / "embeddings" / embedding / "map" / spec.key


def _stored(folder: Path) -> Map | None:
    path = folder / "about.json"
    if not path.exists():
        return None
    about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    number = about["number"]
    ids, xy, clusters = (np.load(folder / f"{part}-{number}.npy") for part in ("ids", "xy", "clusters"))
    titles = tuple(Title(text, tuple(words)) for text, words in about["titles"])
    return Map(about["embedding"], MapSpec(**about["spec"]), ids.tolist(), xy, clusters, titles, number)


def _fit(folder: Path, number: int) -> tuple[np.ndarray, np.ndarray]:
    with np.load(folder / f"fit-{number}.npz") as kept:
        return kept["mean"], kept["directions"]


def _store(folder: Path, made: Map, fit: tuple[np.ndarray, np.ndarray]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    number = made.number
    arrays = {"ids": np.array(made.ids), "xy": made.xy, "clusters": made.clusters}
    for part, array in arrays.items():
        np.save(folder / f"{part}-{number}.npy", array)
    np.savez(folder / f"fit-{number}.npz", mean=fit[0], directions=fit[1])
    about = {
        "embedding": made.embedding,
        "spec": asdict(made.spec),
        "samples": len(made.ids),
        "titles": [(title.text, title.words) for title in made.titles],
        "number": number,
    }
    partial = folder / ".about.json"
    partial.write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
    partial.replace(folder / "about.json")
    for path in folder.glob("*-*.np[yz]"):
        if not path.stem.endswith(f"-{number}"):
            path.unlink()


def forget_map(corpus: Corpus, embedding: str, spec: MapSpec) -> None:
    """Remove a stored map."""
    shutil.rmtree(_folder(corpus, embedding, spec), ignore_errors=True)

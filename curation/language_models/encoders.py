"""Encoders: texts to unit vectors. `lexical` needs nothing but numpy and sklearn; the others need torch.

These are sentence-transformers, and the hidden states of a causal language model (`hf-mean:`, `hf-weighted:` and
`hf-last:`, see `curation.language_models.hidden_states`).

The lexical encoder compares wording, not meaning: character n-grams of any language, hashed, weighted by how rare they
are in the corpus, and reduced by an SVD. It is fitted on the corpus once and stored, so that samples that arrive later
get vectors in the same space.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from curation.errors import ModelError, unknown
from curation.language_models.hidden_states import POOLINGS, open_pooled
from curation.language_models.models import Encoder

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_matrix

LEXICAL_FILE = "lexical.npz"

_TRANSFORMER = "sentence-transformers:"
_POOLED = {f"hf-{pooling}": pooling for pooling in POOLINGS}
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_NGRAMS = (2, 3, 4)
"""Lengths of the character n-grams; pairs carry most Chinese words."""
_BUCKET_BITS = 16
_MOST_CHARACTERS = 1_000
"""Of each text; what comes later is not compared."""
_MOST_TEXTS = 10_000
"""The encoder is fitted on so many texts at most, drawn with a seed."""
_CHUNK = 1_000


def open_encoder(
    spec: str = "lexical", *, folder: Path | None = None, fit_on: Callable[[], Sequence[str]] | None = None
) -> Encoder:
    """Open `lexical`, `sentence-transformers:NAME_OR_PATH`, or `hf-mean:`, `hf-weighted:` or `hf-last:NAME_OR_PATH`.

    Args:
        spec: which encoder.
        folder: where the fitted lexical encoder lies, or is left after fitting.
        fit_on: gives the corpus' texts; called only where the lexical encoder has not been fitted yet.

    Raises:
        ModelError: unknown spec; a library or model is missing; the lexical encoder has nothing to be fitted on.
    """
    if spec.startswith(_TRANSFORMER):
        return SentenceTransformerEncoder(spec)
    kind, colon, model = spec.partition(":")
    if colon and kind in _POOLED:
        return open_pooled(spec, model, _POOLED[kind])
    if spec != "lexical":
        known = ["lexical", *(f"{kind}:NAME_OR_PATH" for kind in (_TRANSFORMER[:-1], *_POOLED))]
        raise unknown("encoder", spec, known, ModelError)
    stored = folder / LEXICAL_FILE if folder is not None else None
    if stored is not None and stored.is_file():
        return LexicalEncoder.load(stored)
    if fit_on is None:
        raise ModelError("The lexical encoder has not been fitted on this corpus yet.", fix="winnow embed CORPUS")
    encoder = LexicalEncoder().fit(fit_on())
    if stored is not None:
        encoder.save(stored)
    return encoder


class LexicalEncoder:
    """Character n-grams, hashed, TF-IDF, truncated SVD: any language, no download, deterministic."""

    spec = "lexical"

    def __init__(self, dimensions: int = 128, *, seed: int = 0) -> None:
        """Not fitted yet.

        Args:
            dimensions: of the vectors, fewer where there are fewer texts to fit on.
            seed: of the texts drawn for fitting and of the randomised SVD.
        """
        self.dimensions = dimensions
        self.seed = seed
        self._weights: np.ndarray | None = None
        self._projection: np.ndarray | None = None

    def fit(self, texts: Sequence[str]) -> Self:
        """Learn from (a seeded draw of at most 10,000 of) the texts which n-grams are rare and which go together.

        Raises:
            ModelError: every text is empty.
        """
        import numpy as np
        from sklearn.decomposition import TruncatedSVD

        texts = [text for text in texts if text.strip()]
        if not texts:
            raise ModelError("There is no text to fit the lexical encoder on.", fix="winnow ingest CORPUS FILE")
        if len(texts) > _MOST_TEXTS:
            drawn = np.random.default_rng(self.seed).choice(len(texts), _MOST_TEXTS, replace=False)
            texts = [texts[i] for i in np.sort(drawn)]
        counts = _counts(texts)
        frequency = np.bincount(counts.indices, minlength=1 << _BUCKET_BITS)
        rarity = np.log((1 + len(texts)) / (1 + frequency)) + 1
        # Squared: measured on Alpaca, neighbours then agree a seventh more often with those of a sentence embedder.
        self._weights = (rarity**2).astype(np.float32)
        # The first direction is what all texts share; where there are enough of them it is left out.
        skipped = 1 if len(texts) > self.dimensions else 0
        wanted = min(self.dimensions + skipped, len(texts))
        svd = TruncatedSVD(wanted, n_iter=2, random_state=self.seed).fit(_weighted(counts, self._weights))
        # Rounded as it is stored, so that a loaded encoder gives the same vectors as the fitted one.
        self._projection = np.ascontiguousarray(svd.components_[skipped:].T.astype(np.float16).astype(np.float32))
        return self

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """As `Encoder.encode`.

        Raises:
            ModelError: it has not been fitted.
        """
        import numpy as np

        if self._projection is None or self._weights is None:
            raise ModelError("The lexical encoder has not been fitted.", fix="call fit(texts) first")
        vectors = np.zeros((len(texts), self._projection.shape[1]), dtype=np.float32)
        for first, chunk in _chunks(texts):
            vectors[first : first + len(chunk)] = _weighted(_counts(chunk), self._weights) @ self._projection
        return _unit(vectors)

    def save(self, path: Path) -> None:
        """Write the fitted encoder (.npz, no pickle), as a whole or not at all."""
        import numpy as np

        if self._projection is None or self._weights is None:
            raise ModelError("The lexical encoder has not been fitted.", fix="call fit(texts) first")
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".tmp")
        with unfinished.open("wb") as file:
            np.savez_compressed(
                file, weights=self._weights, projection=self._projection.astype(np.float16), seed=np.int64(self.seed)
            )
        os.replace(unfinished, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        import numpy as np

        with np.load(path, allow_pickle=False) as stored:
            encoder = cls(stored["projection"].shape[1], seed=int(stored["seed"]))
            encoder._weights = stored["weights"]
            encoder._projection = stored["projection"].astype(np.float32)
        return encoder


def _chunks(texts: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    for first in range(0, len(texts), _CHUNK):
        yield first, texts[first : first + _CHUNK]


def _counts(texts: Sequence[str]) -> csr_matrix:
    """n-gram counts, float32 (texts, buckets)."""
    from scipy.sparse import vstack

    return vstack([_chunk_counts(chunk) for _, chunk in _chunks(texts)], format="csr")


def _chunk_counts(texts: Sequence[str]) -> csr_matrix:
    """All n-grams of all texts at once: a rolling hash over the code points laid end to end."""
    import numpy as np
    from scipy.sparse import csr_matrix

    texts = [_normalised(text) for text in texts]
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    row = np.repeat(np.arange(len(texts)), lengths)
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(points))  # characters to the end of the text
    keys = []
    hashes = np.zeros(len(points), dtype=np.uint64)
    for n in range(1, max(_NGRAMS) + 1):
        hashes = hashes[: max(0, len(points) - n + 1)]
        hashes = (hashes + points[n - 1 :]) * np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: spreads the bits
        hashes ^= hashes >> np.uint64(29)
        if n in _NGRAMS:
            whole = left[: len(hashes)] >= n
            buckets = (hashes[whole] >> np.uint64(64 - _BUCKET_BITS)).astype(np.int64)
            keys.append((row[: len(hashes)][whole] << _BUCKET_BITS) + buckets)
    found, counts = np.unique(np.concatenate(keys), return_counts=True)
    cells = (found >> _BUCKET_BITS, found & ((1 << _BUCKET_BITS) - 1))
    return csr_matrix((counts.astype(np.float32), cells), shape=(len(texts), 1 << _BUCKET_BITS))


def _normalised(text: str) -> str:
    """Lower case, single spaces, a space at both ends (so that ends of words count), or nothing at all."""
    words = text[:_MOST_CHARACTERS].lower().split()
    return f" {' '.join(words)} " if words else ""


def _weighted(counts: csr_matrix, weights: np.ndarray) -> csr_matrix:
    import numpy as np

    weighted = counts.copy()
    weighted.data = (1 + np.log(weighted.data)) * weights[weighted.indices]
    # Not sklearn's normalize: importing it takes seconds, and a search for what is typed waits for it.
    rows = np.repeat(np.arange(counts.shape[0]), np.diff(weighted.indptr))
    squares = np.bincount(rows, weights=weighted.data.astype(np.float64) ** 2, minlength=counts.shape[0])
    weighted.data = (weighted.data / np.sqrt(squares)[rows]).astype(np.float32)
    return weighted


def _unit(vectors: np.ndarray) -> np.ndarray:
    import numpy as np

    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


class SentenceTransformerEncoder:
    """Any sentence-transformers model, by name or path."""

    def __init__(self, spec: str, *, batch_size: int = 64) -> None:
        """Load the model.

        Raises:
            ModelError: the library is not installed, or the model can't be loaded.
        """
        self.spec = spec
        self.batch_size = batch_size
        self._model = _load_transformer(spec.removeprefix(_TRANSFORMER))

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """As `Encoder.encode`."""
        import numpy as np

        present = [i for i, text in enumerate(texts) if text.strip()]
        vectors = np.zeros((len(texts), int(self._model.get_embedding_dimension())), dtype=np.float32)
        if present:
            found = self._model.encode(
                [texts[i] for i in present],
                batch_size=self.batch_size,
                normalize_embeddings=True,
                convert_to_numpy=True,
                show_progress_bar=False,
            )
            vectors[present] = np.nan_to_num(found.astype(np.float32))
        return vectors


def _load_transformer(name: str) -> Any:
    path = Path(name).expanduser()
    if not path.is_dir() and not _HUB_NAME.fullmatch(name):
        raise ModelError(f"There is no model folder {name!r}.", fix=f"give another: {_TRANSFORMER}NAME_OR_PATH")
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise ModelError(
            f"The encoder {_TRANSFORMER}{name} needs sentence-transformers, which is not installed.",
            fix="pip install 'winnow-studio[models]'",
        ) from None
    try:
        if _is_quantized_static(path):
            return _quantized_static(path)
        return SentenceTransformer(str(path) if path.is_dir() else name)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(
            f"The sentence-transformers model {name!r} could not be loaded: {reason}",
            fix="check the name and the network, give the path of a model folder, or use the encoder lexical",
        ) from None


def _is_quantized_static(path: Path) -> bool:
    """A model2vec folder with int8 vectors, which sentence-transformers can't load: it wants gradients."""
    config, weights = path / "config.json", path / "model.safetensors"
    if not (config.is_file() and weights.is_file() and (path / "tokenizer.json").is_file()):
        return False
    if json.loads(config.read_text(encoding="utf-8")).get("model_type") != "model2vec":
        return False
    from safetensors import safe_open

    with safe_open(weights, "numpy") as tensors:
        return set(tensors.keys()) == {"embeddings"} and tensors.get_slice("embeddings").get_dtype() == "I8"


def _quantized_static(path: Path) -> Any:
    import numpy as np
    from safetensors.numpy import load_file
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    weights = load_file(path / "model.safetensors")["embeddings"].astype(np.float32)
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    return SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu")

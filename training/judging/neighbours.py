"""Samples that are nearest to a text: by the corpus' stored vectors, or by wording where there are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from training.data.mix_folder import Example

if TYPE_CHECKING:
    import numpy as np

    from curation.language_models.models import Encoder

LEXICAL = "lexical"
QUERIES_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A sample of the mix."""

    id: str
    source: str
    similarity: float
    """Cosine, at most 1."""
    question: str


@dataclass(frozen=True)
class Space:
    """Vectors of samples, and what encodes other texts beside them."""

    encoder: Encoder
    spec: str
    ids: list[str]
    vectors: np.ndarray
    """(samples, dimensions), unit length."""
    samples: Mapping[str, tuple[str, str]]
    """Id -> source, question."""

    def nearest(self, texts: Sequence[str], count: int) -> list[list[Neighbour]]:
        """The `count` nearest samples to each text, nearest first; ties by id."""
        import numpy as np

        found = []
        for first in range(0, len(texts), QUERIES_AT_ONCE):
            queries = _unit(self.encoder.encode(texts[first : first + QUERIES_AT_ONCE]))
            for cosines in queries @ self.vectors.T:
                count = min(count, len(self.ids))
                few = np.argpartition(-cosines, count - 1)[:count]
                order = sorted(few, key=lambda i: (-round(float(cosines[i]), 6), self.ids[i]))
                found.append([self._neighbour(i, float(cosines[i])) for i in order])
        return found

    def _neighbour(self, place: int, cosine: float) -> Neighbour:
        source, question = self.samples[self.ids[place]]
        return Neighbour(self.ids[place], source, round(cosine, 4), question)


def lexical_space(examples: Sequence[Example]) -> Space:
    """By wording: the lexical encoder, fitted on these samples."""
    from curation.language_models.encoders import LexicalEncoder

    texts = [text_of(example) for example in examples]
    encoder = LexicalEncoder().fit(texts)
    vectors = _unit(encoder.encode(texts))
    return Space(encoder, LEXICAL, [e.id for e in examples], vectors, _described(examples))


def stored_space(corpus_folder: Path, name: str, examples: Sequence[Example]) -> Space:
    """By vectors that the corpus keeps; samples without one are left out.

    Raises:
        WinnowError: there is no such embedding, or nothing can encode another text beside it.
    """
    import numpy as np

    from curation.corpus import Corpus
    from curation.errors import WinnowError
    from curation.language_models.encoders import open_encoder
    from curation.vectors import vectors_of

    stored = vectors_of(Corpus(corpus_folder), name)
    if stored.model.startswith("file:"):
        raise WinnowError(
            f"The embedding {name!r} was brought as a file: nothing can give an answer its vector.",
            fix=f"winnow embed {corpus_folder}, or leave --embedding out",
        )
    encoder = open_encoder(stored.model, folder=corpus_folder / "embeddings" / stored.name)
    place = {sample_id: i for i, sample_id in enumerate(stored.ids)}
    ids = [e.id for e in examples if e.id in place]
    if not ids:
        raise WinnowError(
            f"No sample of the mix has a vector in the embedding {name!r}.", fix=f"winnow embed {corpus_folder}"
        )
    vectors = _unit(np.asarray(stored.matrix[[place[i] for i in ids]], dtype=np.float32))
    return Space(encoder, stored.name, ids, vectors, _described(examples))


def text_of(example: Example) -> str:
    """What of a sample is compared: the user's turns, then the answers, as the corpus embeds them."""
    if example.text is not None:
        return example.text
    asked = [str(m["content"]) for m in example.messages if m["role"] == "user"]
    answered = [str(m["content"]) for m in example.messages if m["role"] == "assistant"]
    return "\n\n".join([*asked, *answered])


def _described(examples: Sequence[Example]) -> dict[str, tuple[str, str]]:
    return {e.id: (e.source, e.question[:300]) for e in examples}


def _unit(vectors: np.ndarray) -> np.ndarray:
    import numpy as np

    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: np.ndarray = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit

"""The texts that a new sample is compared with: equal ones, almost equal ones, and such that mean the same."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from synthesis.elimination import plain
from synthesis.rouge import ClosestTexts

if TYPE_CHECKING:
    import numpy as np

Encode = Callable[[Sequence[str]], "np.ndarray[Any, Any]"]
Objection = tuple[str, str]


class KnownTexts:
    """Texts under names; which measures are taken is said once."""

    def __init__(self, exact: bool, max_rouge: float | None, max_cosine: float | None, encode: Encode | None) -> None:
        """None known yet.

        Args:
            exact: object to a text that is equal but for case, spaces and punctuation around it.
            max_rouge: object above this ROUGE-L.
            max_cosine: object above this cosine of the vectors that `encode` gives.
            encode: texts to float32 (texts, dimensions) of unit length.
        """
        self._exact: dict[str, str] | None = {} if exact else None
        self._closest = ClosestTexts() if max_rouge is not None else None
        self._max_rouge = max_rouge or 0.0
        self._max_cosine = max_cosine
        self._encode = encode
        self._vectors: list[tuple[list[str], np.ndarray[Any, Any]]] = []

    def add(self, names: Sequence[str], texts: Sequence[str], *, encoded: bool = True) -> None:
        """Add texts under names; without `encoded` they have no vector."""
        if not texts:
            return
        if self._exact is not None:
            for name, text in zip(names, texts, strict=True):
                self._exact.setdefault(plain(text), name)
        if self._closest is not None:
            self._closest.add(names, texts)
        if self._max_cosine is not None and self._encode is not None and encoded:
            self._add_vectors(list(names), self._encode(texts))

    def objection(self, text: str, but: Collection[str], siblings: Collection[str] = ()) -> Objection | None:
        """Rule and finding of the first measure that objects.

        Args:
            text: what is compared.
            but: names that don't count. A text that is equal to one of these and to another passes the exact measure.
            siblings: names that count for the exact measure alone.
        """
        if self._exact is not None and (same := self._exact.get(plain(text))) and same not in but:
            return "exact-duplicate", f"the same text as sample {same}"
        but = {*but, *siblings}
        if self._closest is not None and (found := self._closest.closest(text, self._max_rouge, but)):
            limit = f"above {self._max_rouge:g}"
            return "near-duplicate", f"ROUGE-L {found[1]:.3f}, {limit}, to sample {found[0]}"
        return self._too_close(text, but)

    def _too_close(self, text: str, but: Collection[str]) -> Objection | None:
        import numpy as np

        if self._max_cosine is None or self._encode is None or not self._vectors:
            return None
        vector = self._encode([text])[0]
        best = ("", -1.0)
        for names, vectors in self._vectors:
            cosines = vectors @ vector
            for place in np.argsort(-cosines, kind="stable")[: len(but) + 1].tolist():
                if names[place] not in but and (-cosines[place], names[place]) < (-best[1], best[0]):
                    best = names[place], float(cosines[place])
        if best[1] <= self._max_cosine:
            return None
        return "embedding", f"cosine {best[1]:.3f}, above {self._max_cosine:g}, to sample {best[0]}"

    def _add_vectors(self, names: list[str], vectors: np.ndarray[Any, Any]) -> None:
        import numpy as np

        self._vectors.append((names, vectors))
        while len(self._vectors) > 1 and len(self._vectors[-1][0]) * 2 > len(self._vectors[-2][0]):
            last_names, last = self._vectors.pop()
            before_names, before = self._vectors.pop()
            self._vectors.append((before_names + last_names, np.concatenate([before, last])))

"""A Hugging Face text classifier from a local folder: the probability of one label, in batches."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from curation.errors import ModelError
from curation.language_models.causal_lm import fingerprint_of, model_folder

if TYPE_CHECKING:
    import numpy as np

BATCH = 32
WINDOW = 512
"""Tokens that are read at once, if the model reads no fewer."""
_TOXIC = re.compile(r"(?i)(?<!non)(?<!not)(?<!non-)(?<!not-)(?<!non_)(?<!not_)(?:toxic|hate|offens|abus)")


def open_classifier(spec: str, label: str | None = None) -> TextClassifier:
    """The classifier behind `hf:PATH`; the last one stays open in this process.

    Args:
        spec: a folder, or a name on the Hugging Face hub.
        label: whose probability is asked for; null takes the one that is named after toxicity.

    Raises:
        ModelError: transformers is missing, there is no such model, or which label is meant can't be told.
    """
    return _opened(spec, fingerprint_of(spec), label)


@functools.lru_cache(maxsize=1)
def _opened(spec: str, fingerprint: str, label: str | None) -> TextClassifier:
    try:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
    except ImportError:
        raise ModelError(
            "A model for toxicity needs torch and transformers, which are not installed.",
            fix="pip install 'winnow-studio[models]'",
        ) from None
    folder = model_folder(spec)
    try:
        model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(
            f"{spec} is no text classifier: {reason}", fix="give a text-classification folder: hf:PATH"
        ) from None
    return TextClassifier(model, tokenizer, label_index(model.config.id2label, label))


def label_index(labels: dict[int, str], wanted: str | None) -> int:
    """Which output is meant: the wanted label, else the one named after toxicity, else the second of two.

    Raises:
        ModelError: no label is called so, or it can't be told which one is meant.
    """
    if wanted is not None:
        for index, name in labels.items():
            if name.lower() == wanted.lower():
                return int(index)
    named = [int(index) for index, name in labels.items() if _TOXIC.search(name)]
    if wanted is None and named:
        return named[0]
    if wanted is None and len(labels) <= 2 and all(name.startswith("LABEL_") for name in labels.values()):
        return len(labels) - 1
    problem = f"has no label {wanted!r}" if wanted else "has no label that is named after toxicity"
    raise ModelError(f"The classifier {problem}.", fix=f"name one: --set label={'|'.join(labels.values())}")


class TextClassifier:
    """A classifier with its tokenizer."""

    def __init__(self, model: Any, tokenizer: Any, index: int) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.index = index
        known = [n for n in (getattr(model.config, "max_position_embeddings", None), tokenizer.model_max_length) if n]
        self.window = min([WINDOW, *known])

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Probability of the label for each text, float64, 0..1; of a long text, the highest of its windows'."""
        import numpy as np

        windows, owners = self._windows(texts)
        highest = np.zeros(len(texts))
        order = sorted(range(len(windows)), key=lambda i: len(windows[i]))
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            np.maximum.at(highest, [owners[i] for i in batch], self._batch([windows[i] for i in batch]))
        return highest

    def _windows(self, texts: Sequence[str]) -> tuple[list[list[int]], list[int]]:
        """Token ids of the parts of each text, and which text each part is of."""
        cut = {"truncation": True, "max_length": self.window, "return_overflowing_tokens": True}
        encoded = self.tokenizer(list(texts), **cut)
        return encoded["input_ids"], encoded["overflow_to_sample_mapping"]

    def _batch(self, windows: list[list[int]]) -> np.ndarray:
        import numpy as np
        import torch

        longest = max(1, *(len(ids) for ids in windows))
        pad = self.tokenizer.pad_token_id or 0
        ids = torch.tensor([w + [pad] * (longest - len(w)) for w in windows])
        mask = torch.tensor([[1] * len(w) + [0] * (longest - len(w)) for w in windows])
        with torch.inference_mode():
            logits = self.model(input_ids=ids, attention_mask=mask).logits.float()
        several = getattr(self.model.config, "problem_type", None) == "multi_label_classification"
        shares = torch.sigmoid(logits) if several or logits.shape[1] == 1 else torch.softmax(logits, dim=1)
        return np.asarray(shares[:, self.index].double())

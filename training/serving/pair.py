"""A run's model and its base in one process."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.judging.generation import FEWEST_NEW, Written, generated, prompt_ids
from training.methods.opening import ADAPTER, Model, below, bf16, open_model, open_tokenizer

TRAINED, BASE = "trained", "base"


class Pair:
    """Both models answer the same tokens: the base is asked with the run's tokenizer and chat template."""

    def __init__(self, final: Path) -> None:
        """Open them; below an adapter the base is held once.

        Args:
            final: folder of a finished run's model or adapter.

        Raises:
            ModelError: one of them can't be opened.
        """
        self.tokenizer = open_tokenizer(str(final))
        self._turn = threading.Lock()
        dtype = "bfloat16" if bf16() else "float32"
        if (final / ADAPTER).is_file():
            from peft import PeftModel

            base = below(str(final))
            adapted = PeftModel.from_pretrained(_placed(open_model(base, dtype=dtype)), str(final)).eval()
            self._models = {TRAINED: adapted, BASE: adapted}
        else:
            run = json.loads((final.parent / "config.json").read_text(encoding="utf-8"))
            names = {TRAINED: str(final), BASE: str(run["base_model"])}
            self._models = {name: _placed(open_model(where, dtype=dtype)).eval() for name, where in names.items()}

    def answer(
        self,
        name: str,
        messages: Sequence[dict[str, Any]],
        *,
        most_tokens: int,
        temperature: float | None = None,
        seed: int = 0,
    ) -> tuple[Written, int]:
        """An answer, and how many tokens its prompt has; one is written at a time.

        Args:
            name: `trained` or `base`.
            messages: chat messages, the last one the user's.
            most_tokens: longest answer.
            temperature: null or 0 takes the likeliest token each time.
            seed: of drawn answers.

        Raises:
            ValueError: the chat template refuses the messages, or they leave no room for an answer.
        """
        model = self._models[name]
        ids = prompt_ids(self.tokenizer, messages)
        window = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1 << 30
        if len(ids) + FEWEST_NEW > window:
            raise ValueError(f"the prompt has {len(ids)} tokens, and the model sees {window}")
        with self._turn, self._as(name, model):
            drawn = generated(
                model, self.tokenizer, [ids], most_tokens=most_tokens, temperature=temperature or None, seed=seed
            )
            return next(drawn)[1], len(ids)

    @contextmanager
    def _as(self, name: str, model: Model) -> Iterator[None]:
        if name == BASE and self._models[TRAINED] is model:
            with model.disable_adapter():
                yield
        else:
            yield


def _placed(model: Model) -> Model:
    import torch

    return model.to("cuda" if torch.cuda.is_available() else "cpu")

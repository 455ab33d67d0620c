"""Reward models: Hugging Face sequence classifiers that read a whole conversation and give one number."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.errors import ModelError, OperatorError
from curation.language_models.batches import packed
from curation.language_models.causal_lm import BATCH_TOKENS, fingerprint_of, model_folder

if TYPE_CHECKING:
    import numpy as np

Turns = Sequence[dict[str, Any]]
Encoded = dict[str, list[int]]
"""`input_ids`, and `token_type_ids` where the tokenizer gives them."""
REFUSED = "the model's chat template does not take such a conversation"


def open_reward_model(spec: str, label: str | None = None) -> RewardModel:
    """The classifier behind `hf:PATH`; the last one stays open in this process.

    Args:
        spec: a folder, or a name on the Hugging Face hub.
        label: whose logit is the reward; needed where there are several.

    Raises:
        ModelError: transformers is missing, there is no such model, or which label is meant can't be told.
    """
    return _opened(spec, fingerprint_of(spec), label)


@functools.lru_cache(maxsize=1)
def _opened(spec: str, fingerprint: str, label: str | None) -> RewardModel:
    try:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar
    except ImportError:
        raise ModelError(
            "A reward model needs torch and transformers, which are not installed.",
            fix="pip install 'winnow-studio[models]'",
        ) from None
    folder = model_folder(spec)
    _check_architecture(spec, folder)
    disable_progress_bar()
    cuda = torch.cuda.is_available()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model, loaded = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=torch.bfloat16 if cuda else torch.float32, output_loading_info=True
        )
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(f"{spec} is no sequence classifier: {reason}", fix="give a reward model: hf:PATH") from None
    if loaded["missing_keys"]:
        raise ModelError(f"{spec} has no weights for {min(loaded['missing_keys'])}.", fix="download it again")
    model = model.to("cuda" if cuda else "cpu").eval()
    return RewardModel(spec, model, tokenizer, label_index(spec, model.config.id2label, label))


def _check_architecture(spec: str, folder: Path) -> None:
    """Another model would get a fresh, random head and only a warning: the rewards would be noise."""
    kinds = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("architectures") or []
    if not any(kind.endswith("ForSequenceClassification") for kind in kinds):
        raise ModelError(
            f"{spec} is no reward model: its config.json names {', '.join(kinds) or 'no architecture'}.",
            fix="give a model whose architecture ends in ForSequenceClassification: hf:PATH",
        )


def label_index(spec: str, labels: dict[int, str], wanted: str | None) -> int:
    """Which output is the reward: the only one, or the one that is called so.

    Raises:
        ModelError: there is none of that name, or several and no name.
    """
    if wanted is None and len(labels) == 1:
        return 0
    for index, name in labels.items():
        if wanted is not None and name.lower() == wanted.lower():
            return int(index)
    problem = f"has {len(labels)} labels" if wanted is None else f"has no label {wanted!r}"
    raise ModelError(f"{spec} {problem}.", fix=f"name one: --set label={'|'.join(labels.values())}")


class RewardModel:
    """A sequence classifier with its tokenizer."""

    def __init__(self, spec: str, model: Any, tokenizer: Any, index: int) -> None:
        self.spec = spec
        self.model = model
        self.tokenizer = tokenizer
        self.index = index
        self.window = _window(model, tokenizer)
        self._pads = model.config.get_text_config().pad_token_id is not None

    def rewards(
        self, conversations: Sequence[Turns], max_tokens: int | None = None, batch_tokens: int | None = None
    ) -> list[tuple[float | None, str | None]]:
        """The reward of each conversation that ends with an answer, or null and the reason.

        Args:
            conversations: turns with `role` and `content`.
            max_tokens: of the longest that is read; the window when null.
            batch_tokens: per forward pass, padding included; a longer conversation goes alone.

        Raises:
            OperatorError: `max_tokens` is more than the model sees.
        """
        if max_tokens is not None and max_tokens > self.window:
            raise OperatorError(
                f"scorer 'reward': max_tokens is {max_tokens}, but the model sees only {self.window}.",
                fix=f"--set max_tokens={self.window}",
            )
        limit = max_tokens or self.window
        encoded = [self._encode(turns) for turns in conversations]
        found: list[tuple[float | None, str | None]] = [(None, REFUSED)] * len(encoded)
        sizes = {i: len(one["input_ids"]) for i, one in enumerate(encoded) if one is not None}
        found = [
            (None, f"it does not fit in the window of {limit} tokens") if sizes.get(i, 0) > limit else none
            for i, none in enumerate(found)
        ]
        # Longest first: if memory does not suffice, the first batch says so.
        order = sorted((i for i, size in sizes.items() if size <= limit), key=lambda i: -sizes[i])
        budget = batch_tokens or BATCH_TOKENS.get(self.model.device.type, BATCH_TOKENS["cpu"])
        for batch in packed(order, sizes, sizes, budget, sys.maxsize):
            for i, value in zip(batch, self._batch([encoded[i] or {} for i in batch]), strict=True):
                found[i] = float(value), None
        return found

    def _encode(self, turns: Turns) -> Encoded | None:
        """In the model's chat template, or as a pair of the turns before the answer and the answer."""
        from jinja2 import TemplateError

        messages = [{"role": turn["role"], "content": turn["content"] or ""} for turn in turns]
        if self.tokenizer.chat_template is None:
            question = "\n\n".join(m["content"] for m in messages[:-1])
            found = self.tokenizer(question, messages[-1]["content"], verbose=False)
        else:
            try:
                text = self.tokenizer.apply_chat_template(messages, tokenize=False)
            except TemplateError:
                return None
            found = self.tokenizer(text, add_special_tokens=False, verbose=False)
        return {name: found[name] for name in ("input_ids", "token_type_ids") if name in found}

    def _batch(self, rows: Sequence[Encoded]) -> np.ndarray:
        import numpy as np
        import torch

        lengths = [len(row["input_ids"]) for row in rows]
        pad = self._padding({row["input_ids"][-1] for row in rows})
        given = {
            name: torch.tensor(
                [
                    row[name] + [pad if name == "input_ids" else 0] * (max(lengths) - size)
                    for row, size in zip(rows, lengths, strict=True)
                ]
            ).to(self.model.device)
            for name in rows[0]
        }
        mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
        with torch.inference_mode():
            logits = self.model(**given, attention_mask=mask.long().to(self.model.device)).logits
        return np.asarray(logits[:, self.index].double().cpu())

    def _padding(self, last: set[int]) -> int:
        """What rows are filled up with: where the model names no such token, one that no row ends with.

        Decoders read the reward off the last token that is not padding.
        """
        config = self.model.config.get_text_config()
        if not self._pads:
            config.pad_token_id = next(i for i in range(len(last) + 1) if i not in last)
        return int(config.pad_token_id)


def _window(model: Any, tokenizer: Any) -> int:
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    known = [int(n) for n in (positions, tokenizer.model_max_length) if n and n < 10**9]
    return min(known, default=sys.maxsize)

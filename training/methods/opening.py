"""Opening a base model: its tokenizer, its weights, and how long a text it can read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from curation.errors import ModelError
from training.data.encoding import Tokenizer

Model = Any
"""A Hugging Face causal language model, with or without a peft adapter."""


def open_tokenizer(base_model: str) -> Tokenizer:
    """The tokenizer of a model folder or name; it has a padding token.

    Raises:
        ModelError: there is none, or it can't be read.
    """
    from transformers import AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(base_model)
    except (OSError, ValueError) as error:
        raise _not_opened("tokenizer", base_model, error) from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    return tokenizer


def open_model(base_model: str, *, dtype: str = "float32") -> Model:
    """A causal language model on the CPU; the folder of an adapter gives its base with the adapter merged in.

    Raises:
        ModelError: there is none, or it can't be read.
    """
    from transformers import AutoModelForCausalLM

    adapter = Path(base_model) / "adapter_config.json"
    if adapter.is_file():
        from peft import PeftModel

        below = json.loads(adapter.read_text(encoding="utf-8"))["base_model_name_or_path"]
        model = PeftModel.from_pretrained(open_model(below, dtype=dtype), base_model).merge_and_unload()
        model.name_or_path = base_model
        return model
    try:
        return AutoModelForCausalLM.from_pretrained(base_model, dtype=dtype)
    except (OSError, ValueError) as error:
        raise _not_opened("model", base_model, error) from None


def window_of(base_model: str) -> int | None:
    """Longest sequence the model was built for, in tokens; null where its config does not say."""
    from transformers import AutoConfig

    adapter = Path(base_model) / "adapter_config.json"
    if adapter.is_file():
        return window_of(json.loads(adapter.read_text(encoding="utf-8"))["base_model_name_or_path"])
    try:
        config = AutoConfig.from_pretrained(base_model)
    except (OSError, ValueError) as error:
        raise _not_opened("model", base_model, error) from None
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def bf16() -> bool:
    """Whether there is a GPU that computes in bf16: on a CPU it is four times slower than float32."""
    import torch

    return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported())


def _not_opened(what: str, base_model: str, error: Exception) -> ModelError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ModelError(
        f"The {what} of the base model {base_model!r} could not be opened: {reason}",
        fix="give the folder of a Hugging Face causal language model, or the name of one that can be downloaded",
    )

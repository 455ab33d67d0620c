"""Opening a base model: its tokenizer, its weights, and how long a text it can read."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from curation.errors import ModelError
from training.data.encoding import Tokenizer

Model = Any
"""A Hugging Face causal language model, with or without a peft adapter."""

CONFIG, ADAPTER = "config.json", "adapter_config.json"
_GIVE = "give the folder of a Hugging Face causal language model; winnow warm-up CORPUS makes a small one"


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
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # of damaged files
        raise _not_opened("tokenizer", base_model, error) from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    return tokenizer


def check_base_model(base_model: str) -> None:
    """What can be known of a base model without opening it.

    Raises:
        ModelError: it is a path, and no model lies there, or not all of its files.
    """
    base = Path(base_model).expanduser()
    if not base.is_dir():
        if base.is_absolute() or base_model.startswith((".", "~")) or len(base.parts) > 2:
            raise ModelError(f"There is no base model at {base_model}.", fix=_GIVE)
        return
    if not any((base / name).is_file() for name in (CONFIG, ADAPTER)):
        raise ModelError(f"{base} is no model: it has no {CONFIG}.", fix=_GIVE)
    missing = _missing_weights(base)
    if missing:
        raise ModelError(
            f"The base model {base} is incomplete: {missing} is missing.",
            fix="copy or download the folder again, with all of its *.safetensors files",
        )


def _missing_weights(base: Path) -> str | None:
    shards: set[str] = set()
    for index in base.glob("*.index.json"):
        with contextlib.suppress(OSError, ValueError):
            shards |= set(json.loads(index.read_text(encoding="utf-8")).get("weight_map", {}).values())
    gone = sorted(name for name in shards if not (base / name).is_file())
    if gone:
        return gone[0] if len(gone) == 1 else f"{gone[0]} (and {len(gone) - 1} more)"
    return None if any(any(base.glob(f"*.{ending}")) for ending in ("safetensors", "bin")) else "a file of weights"


def open_model(base_model: str, *, dtype: str = "float32", quantization: Any = None) -> Model:
    """A causal language model; of an adapter's folder its base with the adapter merged in, or virtual tokens beside it.

    Args:
        base_model: a folder or a hub name.
        dtype: of the weights.
        quantization: how they are held otherwise, as Transformers takes it: then the model lies on this process' GPU,
            else on the CPU.

    Raises:
        ModelError: there is none, it can't be read, or weights are missing in it.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    adapter = Path(base_model) / ADAPTER
    if adapter.is_file():
        from peft import PeftModel

        base = open_model(below(base_model), dtype=dtype)
        try:
            adapted = PeftModel.from_pretrained(base, base_model)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            if "memory" in str(error):
                raise
            raise _not_opened("adapter", base_model, error) from None
        # Vectors before every text can't become part of weights.
        virtual = adapted.active_peft_config.is_prompt_learning
        model = adapted.eval() if virtual else adapted.merge_and_unload()
        model.name_or_path = base_model
        return model
    held: dict[str, Any] = {"dtype": dtype}
    if quantization is not None:
        held |= {"quantization_config": quantization, "device_map": {"": int(os.environ.get("LOCAL_RANK", "0"))}}
    try:
        model, loaded = AutoModelForCausalLM.from_pretrained(base_model, output_loading_info=True, **held)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        if "memory" in str(error):
            raise
        raise _not_opened("model", base_model, error) from None
    missing = sorted(loaded["missing_keys"])
    if missing:
        raise ModelError(
            f"The base model {base_model!r} has no weights for {len(missing)} of its parameters, such as {missing[0]}.",
            fix="copy or download the folder again; what is missing would be trained from random numbers",
        )
    return model


def below(adapter: str) -> str:
    """The base model of an adapter's folder; a relative path is seen from that folder.

    Raises:
        ModelError: its config can't be read, or names none.
    """
    try:
        base = str(json.loads((Path(adapter) / ADAPTER).read_text(encoding="utf-8"))["base_model_name_or_path"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"The {ADAPTER} of {adapter} can't be read: {type(error).__name__}: {error}",
            fix="copy or export the adapter's folder again",
        ) from None
    beside = Path(adapter) / base
    return str(beside.resolve()) if not Path(base).is_absolute() and beside.is_dir() else base


def window_of(base_model: str) -> int | None:
    """Longest sequence the model was built for, in tokens; null where its config does not say."""
    from transformers import AutoConfig

    if (Path(base_model) / ADAPTER).is_file():
        return window_of(below(base_model))
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

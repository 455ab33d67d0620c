"""What a base model is, read from its folder without loading it: config.json and the headers of its weights."""

from __future__ import annotations

import json
import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class BaseFacts:
    """A base model in numbers; null where the folder does not say."""

    parameters: int | None
    reason: str
    """Where `parameters` comes from, or why it is null."""
    folder: Path | None = None
    """Where its files are; null for a name of which nothing is on this machine."""
    hidden: int | None = None
    layers: int | None = None
    intermediate: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    vocabulary: int | None = None
    window: int | None = None
    """Longest text it was built for, in tokens."""
    looked_up: int = 0
    """Parameters of an input embedding that multiplies nothing, part of `parameters`."""

    @property
    def matrices(self) -> int:
        """Parameters of the linear layers that LoRA widens, estimated from the shapes; 0 where they are not known."""
        return _linear(self) * (self.layers or 0)


def base_facts(base_model: str) -> BaseFacts:
    """Read a model folder, or the local copy of a model named by its name on the hub. Nothing is downloaded."""
    folder = _folder(base_model)
    if folder is None:
        return _by_name(base_model)
    adapter = folder / "adapter_config.json"
    if adapter.is_file() and not (folder / "config.json").is_file():
        base = str(_json(adapter).get("base_model_name_or_path") or "")
        return base_facts(_below(folder, base)) if base else BaseFacts(None, f"{adapter} names no base model", folder)
    config = _json(folder / "config.json")
    if not config:
        return BaseFacts(None, f"{folder} has no config.json", folder)
    text = config.get("text_config") or config
    shapes = _shapes(folder)
    facts = BaseFacts(
        parameters=sum(math.prod(shape) for shape in shapes.values()) if shapes else None,
        reason="counted in the headers of its weights" if shapes else "it has no safetensors",
        folder=folder,
        hidden=_number(text, "hidden_size", "n_embd", "d_model"),
        layers=_number(text, "num_hidden_layers", "n_layer", "num_layers"),
        intermediate=_number(text, "intermediate_size", "n_inner", "ffn_dim"),
        heads=_number(text, "num_attention_heads", "n_head"),
        kv_heads=_number(text, "num_key_value_heads"),
        vocabulary=_number(text, "vocab_size"),
        window=_number(text, "max_position_embeddings", "n_positions"),
        looked_up=_looked_up(shapes),
    )
    return facts if shapes else _estimated(facts, tied=bool(text.get("tie_word_embeddings", False)))


def _below(folder: Path, base: str) -> str:
    """The base of the adapter in a folder; a relative path is seen from that folder."""
    beside = folder / base
    return str(beside.resolve()) if not Path(base).is_absolute() and beside.is_dir() else base


def _folder(base_model: str) -> Path | None:
    path = Path(base_model.removeprefix("hf:")).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.is_absolute() or base_model.startswith((".", "~")):
        return None
    try:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(str(path), "config.json")
    except (ImportError, ValueError):  # a name the hub could not have
        return None
    return Path(found).parent if isinstance(found, str) else None


def _by_name(base_model: str) -> BaseFacts:
    """Names such as Qwen3-0.6B tell the size."""
    found = re.search(r"(\d+(?:\.\d+)?)\s?([BbMm])(?![A-Za-z0-9])", base_model.rsplit("/", 1)[-1])
    if found is None:
        return BaseFacts(None, f"{base_model} is not on this machine: its size is known when it has been downloaded")
    size = float(found[1]) * (1e9 if found[2] in "Bb" else 1e6)
    return BaseFacts(round(size), f"read from the name: {base_model} is not on this machine")


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _number(config: dict[str, Any], *names: str) -> int | None:
    return next((config[name] for name in names if isinstance(config.get(name), int)), None)


def _shapes(folder: Path) -> dict[str, list[int]]:
    """Tensor -> shape, from the headers; empty where a file can't be read."""
    shapes: dict[str, list[int]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        if path.name.startswith("adapter"):
            continue
        try:
            with path.open("rb") as file:
                (size,) = struct.unpack("<Q", file.read(8))
                header = json.loads(file.read(size))
        except (OSError, ValueError, struct.error):
            return {}
        shapes |= {name: told["shape"] for name, told in header.items() if name != "__metadata__"}
    return shapes


def _looked_up(shapes: dict[str, list[int]]) -> int:
    """The input embedding, where another matrix makes the logits."""
    apart = any(name.endswith(("lm_head.weight", "embed_out.weight")) for name in shapes)
    embedding = next((s for n, s in shapes.items() if n.endswith(("embed_tokens.weight", "wte.weight"))), None)
    return math.prod(embedding) if apart and embedding else 0


def _linear(facts: BaseFacts) -> int:
    """Parameters of one layer's matrices: attention and a gated MLP."""
    if not facts.hidden or not facts.layers:
        return 0
    narrow = facts.hidden * (facts.kv_heads or facts.heads or 1) // (facts.heads or 1)
    return 2 * facts.hidden**2 + 2 * facts.hidden * narrow + 3 * facts.hidden * (facts.intermediate or 4 * facts.hidden)


def _estimated(facts: BaseFacts, *, tied: bool) -> BaseFacts:
    from dataclasses import replace

    if not facts.matrices or not facts.vocabulary or not facts.hidden:
        return facts
    table = facts.vocabulary * facts.hidden
    return replace(
        facts,
        parameters=facts.matrices + table * (1 if tied else 2),
        reason="estimated from config.json, for there are no safetensors",
        looked_up=0 if tied else table,
    )

"""Local causal language models: loss per token, in batches, from a Hugging Face model folder.

Everything that scores tokens (IFD, perplexity, held-out loss) shares `HuggingFaceCausalLM`: sequences
are sorted by length, packed into batches by a token budget and padded on the right; only answer positions meet the
language-model head, because with a vocabulary of 150,000 the logits, not the transformer, are the memory peak.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.errors import ModelError
from curation.language_models.batches import longest_first, packed, padded, side_by_side

if TYPE_CHECKING:
    import numpy as np
    import torch

BATCH_TOKENS = {"cpu": 2_048, "cuda": 16_384}
"""Tokens per forward pass, padding included. On 2 cores 2,048 scored a small Llama 1.5 times as fast as 16,384 did."""
BATCH_LOGITS = 2**28
"""Scored positions x vocabulary per forward pass: 1 GiB of float32 logits."""

BLOCK_LOGITS = 2**18
"""Logits at a time on a CPU: 1 MiB stays in its cache. All positions of a batch at once took twice as long with a
vocabulary of 8,192, three times with 50,257."""
BLOCK_ROWS = 64
"""Fewest positions at a time: with fewer, the weights of a large vocabulary are read too often."""

_INSTALL = "pip install 'winnow-studio[models]'"
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_DEFINING = ("config.json", "tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "merges.txt")
_HEADS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_WHOLE_FILE = 64 * 2**20
_END = 2**20


def open_causal_lm(spec: str, *, device: str | None = None) -> HuggingFaceCausalLM:
    """Open the model behind `hf:NAME_OR_PATH` (or a bare path); the last two stay open in this process.

    Args:
        spec: a folder, or a name on the Hugging Face hub.
        device: as torch names it; by default `cuda` where there is one, else `cpu`.

    Raises:
        ModelError: torch is missing, the model is not found, or it is not a causal language model.
    """
    folder = model_folder(spec)
    return _opened(spec, folder, fingerprint_of(spec), device)


# Keyed by the weights' fingerprint, so that a model trained anew in the same folder is not mistaken for the old one.
@functools.lru_cache(maxsize=2)
def _opened(spec: str, folder: Path, fingerprint: str, device: str | None) -> HuggingFaceCausalLM:
    model, tokenizer = load(folder, device=device)
    return HuggingFaceCausalLM(spec, model, tokenizer, fingerprint=fingerprint)


def model_folder(spec: str) -> Path:
    """The local folder of a model; a hub name is looked up in the local cache and downloaded only if it is not there.

    Raises:
        ModelError: nothing there holds a model.
    """
    name = spec.removeprefix("hf:")
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(
                f"{name} holds no model: there is no config.json in it.", fix="give a model folder: hf:PATH"
            )
        return path.resolve()
    if path.exists() or not _HUB_NAME.fullmatch(name):
        raise ModelError(f"There is no model folder {name!r}.", fix="give the path of a Hugging Face folder: hf:PATH")
    return _hub_folder(name)


def _hub_folder(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise _not_installed() from None
    patterns = ["*.json", "*.txt", "*.model", "*.jinja", *_WEIGHTS[:1]]
    try:
        cached = Path(snapshot_download(name, allow_patterns=patterns, local_files_only=True))
        if _weight_files(cached):
            return cached
    except (OSError, ValueError):
        pass  # not in the cache: ask the hub
    try:
        folder = Path(snapshot_download(name, allow_patterns=patterns))
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(
            f"Model {name!r} is neither a folder nor could it be downloaded: {reason}",
            fix="give the path of a Hugging Face folder: hf:PATH",
        ) from None
    if not _weight_files(folder):
        raise ModelError(
            f"Model {name!r} has no safetensors weights.", fix="download and convert it, then give hf:PATH"
        )
    return folder


def _not_installed() -> ModelError:
    return ModelError(
        "A local causal language model needs torch and transformers, which are not installed.", fix=_INSTALL
    )


def _weight_files(folder: Path) -> list[Path]:
    return sorted(path for pattern in _WEIGHTS for path in folder.glob(pattern))


def fingerprint_of(spec: str) -> str:
    """Hash of configuration, tokenizer and weights (of files over 64 MiB: size, first and last MiB). Loads no torch.

    Raises:
        ModelError: as `model_folder`.
    """
    folder = model_folder(spec)
    digest = hashlib.sha256()
    for path in [*(folder / name for name in _DEFINING), *_weight_files(folder)]:
        if path.is_file():
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
            digest.update(_extract(path))
    return digest.hexdigest()[:16]


def _extract(path: Path) -> bytes:
    with path.open("rb") as file:
        if path.stat().st_size <= _WHOLE_FILE:
            return file.read()
        head = file.read(_END)
        file.seek(-_END, 2)
        return head + file.read()


def load(path: str | Path, *, device: str | None = None) -> tuple[Any, Any]:
    """Model (in eval mode; float32 on a CPU, bfloat16 on CUDA) and tokenizer of a folder, as transformers has them.

    Raises:
        ModelError: torch is missing, or the folder does not hold a causal language model.
    """
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar
    except ImportError:
        raise _not_installed() from None
    folder = model_folder(str(path))
    _check_architecture(folder)
    disable_progress_bar()
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(
            f"{folder} could not be opened as a causal language model: {reason}",
            fix="give a folder that AutoModelForCausalLM and AutoTokenizer can load: hf:PATH",
        ) from None
    if device == "cpu":
        _fuse_activations(model)
    return model.to(device).eval(), tokenizer


def _fuse_activations(model: Any) -> None:
    """GPT-2's activation in one pass instead of eight: the same formula, which torch has as one operation too."""
    from torch import nn
    from transformers.activations import NewGELUActivation

    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, nn.GELU(approximate="tanh"))


def _check_architecture(folder: Path) -> None:
    """An encoder would get a fresh, random head and only a warning: the scores would be noise."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    kinds = config.get("architectures") or []
    if not any(kind.endswith(_HEADS) for kind in kinds):
        what = ", ".join(kinds) or "no architecture"
        raise ModelError(
            f"{folder} is not a causal language model: its config.json names {what}.",
            fix="give a model whose architecture ends in ForCausalLM or LMHeadModel: hf:PATH",
        )


class HuggingFaceCausalLM:
    """A `CausalLM` over a transformers model and its tokenizer."""

    def __init__(
        self, spec: str, model: Any, tokenizer: Any, *, fingerprint: str = "", batch_tokens: int | None = None
    ) -> None:
        """Wrap a loaded model.

        Args:
            spec: what opened it.
            model: a transformers causal language model in eval mode.
            tokenizer: its tokenizer.
            fingerprint: hash of the weights.
            batch_tokens: tokens per forward pass, padding included (by default what suits the device); a longer
                sequence goes alone.
        """
        self.spec = spec
        self.model = model
        self.tokenizer = tokenizer
        self.fingerprint = fingerprint
        self.batch_tokens = batch_tokens or BATCH_TOKENS.get(model.device.type, BATCH_TOKENS["cpu"])
        self.window = _window(model, tokenizer)
        self._wanted = threading.local()  # per thread, as batches may be read side by side
        model.get_output_embeddings().register_forward_pre_hook(self._narrow)
        self._vocabulary = int(model.get_output_embeddings().weight.shape[0])

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids, without any special token added (one written in the text, such as `<|im_end|>`, is recognised)."""
        if not texts:
            return []
        ids: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def token_losses(
        self, sequences: Sequence[Sequence[int]], starts: Sequence[int], *, batch_tokens: int | None = None
    ) -> list[np.ndarray]:
        """As `CausalLM.token_losses`: nats, float32, in input order; empty where a sequence ends before its start.

        Raises:
            ValueError: a sequence is longer than `window`.
        """
        import numpy as np

        starts = [max(1, start) for start in starts]
        losses = [np.zeros(0, dtype=np.float32) for _ in sequences]
        scored = longest_first(sequences, starts, self.window)
        batches = self._batches(scored, sequences, starts, batch_tokens)

        def read(batch: list[int]) -> list[np.ndarray]:
            return self._batch_losses([sequences[i] for i in batch], [starts[i] for i in batch])

        on_cpu = self.model.device.type == "cpu" and self._head_is_last
        for batch, found in zip(batches, (side_by_side if on_cpu else map)(read, batches), strict=True):
            for i, values in zip(batch, found, strict=True):
                losses[i] = values
        return losses

    def _batches(
        self, order: Sequence[int], sequences: Sequence[Sequence[int]], starts: Sequence[int], batch_tokens: int | None
    ) -> list[list[int]]:
        scored = {i: len(sequences[i]) - starts[i] for i in order}
        lengths = {i: len(sequences[i]) for i in order}
        return list(packed(order, lengths, scored, batch_tokens or self.batch_tokens, BATCH_LOGITS // self._vocabulary))

    def _batch_losses(self, sequences: list[Sequence[int]], starts: list[int]) -> list[np.ndarray]:
        import numpy as np
        import torch

        counts = np.array([len(ids) - start for ids, start in zip(sequences, starts, strict=True)])
        ids = padded(sequences)
        rows = np.repeat(np.arange(len(sequences)), counts)
        ends = np.cumsum(counts)
        columns = np.arange(len(rows)) + np.repeat(np.array(starts) - (ends - counts), counts)
        targets = torch.from_numpy(ids[rows, columns]).to(self.model.device)
        places = torch.from_numpy(rows), torch.from_numpy(columns - 1)
        return np.split(self._losses(torch.from_numpy(ids), *places, targets).cpu().numpy(), ends[:-1])

    def _losses(
        self, ids: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        import torch

        with torch.inference_mode():
            if self.model.device.type == "cpu" and self._head_is_last:
                states, head = self._states(ids, rows, columns), self.model.get_output_embeddings()
                size = max(BLOCK_ROWS, BLOCK_LOGITS // self._vocabulary)
                blocks = zip(states.split(size), targets.split(size), strict=True)
                return torch.cat([_cross_entropy(head(block), target) for block, target in blocks])
            return _cross_entropy(self._logits(ids, rows, columns), targets)

    @functools.cached_property
    def _head_is_last(self) -> bool:
        """Whether the logits are what the head gives: some architectures scale or cap them after it."""
        import torch

        ids, rows, columns = torch.tensor([[1, 0]]), torch.tensor([0, 0]), torch.tensor([0, 1])
        with torch.inference_mode():
            alone = self.model.get_output_embeddings()(self._states(ids, rows, columns))
            return bool(torch.equal(alone, self._logits(ids, rows, columns)))

    def _states(self, ids: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """What the head would read at the given rows and columns: (positions, hidden)."""
        caught: list[torch.Tensor] = []
        self._forward(ids, rows, columns, caught)
        return caught[0]

    def next_logits(
        self, sequences: Sequence[Sequence[int]], ids: Sequence[int], *, batch_tokens: int | None = None
    ) -> np.ndarray:
        """What the model thinks of some tokens as the next one of each sequence, in one plain forward pass.

        Args:
            sequences: token ids, at least one each.
            ids: the tokens asked about.
            batch_tokens: tokens per forward pass, padding included.

        Returns:
            float32 (sequences, ids): raw logits, before any temperature or cut-off of the model's generation settings.

        Raises:
            ValueError: a sequence is empty or longer than `window`.
        """
        import numpy as np
        import torch

        if any(not 0 < len(sequence) <= self.window for sequence in sequences):
            raise ValueError(f"A sequence is empty or longer than the window of {self.window} tokens.")
        found = np.zeros((len(sequences), len(ids)), dtype=np.float32)
        last = [len(sequence) - 1 for sequence in sequences]
        order = sorted(range(len(sequences)), key=lambda i: -len(sequences[i]))
        batches = self._batches(order, sequences, last, batch_tokens)

        def read(batch: list[int]) -> np.ndarray:
            rows = torch.from_numpy(padded([sequences[i] for i in batch]))
            logits = self._logits(rows, torch.arange(len(batch)), torch.tensor([last[i] for i in batch]))
            return np.asarray(logits[:, list(ids)].float().cpu())

        on_cpu = self.model.device.type == "cpu"
        for batch, values in zip(batches, (side_by_side if on_cpu else map)(read, batches), strict=True):
            found[batch] = values
        return found

    def _logits(self, ids: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """Logits (positions, vocabulary) at the given rows and columns only."""
        import torch

        device = self.model.device
        with torch.inference_mode():
            logits: torch.Tensor = self._forward(ids.to(device), rows.to(device), columns.to(device), None).logits
        return logits[0]

    def _forward(
        self, ids: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, caught: list[torch.Tensor] | None
    ) -> Any:
        """One pass whose head reads only these places, or nothing if they are to be caught before it.

        The padding is on the right, where a causal model does not see it from any token before: no mask is needed, and
        attention takes its faster causal path.
        """
        self._wanted.places = rows, columns, caught
        try:
            return self.model(input_ids=ids, use_cache=False)
        finally:
            del self._wanted.places

    def _narrow(self, _: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        """Narrows what the head is given, from inside: what an architecture does with its logits still applies."""
        if not hasattr(self._wanted, "places"):
            return None
        rows, columns, caught = self._wanted.places
        states = inputs[0][rows, columns]
        if caught is None:
            return states[None], *inputs[1:]
        caught.append(states)
        return inputs[0][:, :0], *inputs[1:]


def _cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Nats per position, in float32 whatever the model's own type."""
    import torch

    return torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")


def _window(model: Any, tokenizer: Any) -> int:
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    known = [int(n) for n in (positions, tokenizer.model_max_length) if n and n < 10**9]
    return min(known, default=sys.maxsize)

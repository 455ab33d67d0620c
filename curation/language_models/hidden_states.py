"""What a causal language model makes of a text: its last hidden states, pooled to one vector.

Texts are tokenized without special tokens and cut to the model's window; sequences of about one length share a batch,
padded on the right. Padding never enters a sum, so that a text's vector does not depend on the texts beside it.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.errors import ModelError
from curation.language_models.causal_lm import HuggingFaceCausalLM, load, model_folder

if TYPE_CHECKING:
    import numpy as np
    import torch

POOLINGS = ("mean", "weighted", "last")
"""Of the token states: their mean; their mean weighted by position 1, 2, 3, ... ; the last one alone."""
MOST_TOKENS = 2_048
"""Of each text, if the window is not shorter: what the source of the weighted mean (RDS+) reads."""


class PooledEncoder:
    """An `Encoder` over a causal language model, or over one with a LoRA adapter.

    Source: mean of the last layer as in DiverseEvol (arXiv:2311.08182); position-weighted mean as in RDS+
    (arXiv:2503.01807, section 3); last token as in DEITA (arXiv:2312.15685).

    Differs from the source: padding is masked (RDS+'s code pools over it and so can't batch); texts are embedded as
    they are, without a chat template; vectors are brought to unit length.
    """

    def __init__(self, spec: str, lm: HuggingFaceCausalLM, pooling: str, *, batch_tokens: int | None = None) -> None:
        """Wrap an open model.

        Args:
            spec: what opened it.
            lm: the model; only its layers below the head are run.
            pooling: one of `POOLINGS`.
            batch_tokens: tokens per forward pass, padding included; by default the model's own number.
        """
        self.spec = spec
        self.pooling = pooling
        self.most_tokens = min(lm.window, MOST_TOKENS)
        self._lm = lm
        self._batch_tokens = batch_tokens or lm.batch_tokens

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """As `Encoder.encode`; of a text longer than `most_tokens` only its beginning counts.

        A row is not finite where the model overflows: whoever stores vectors looks.
        """
        import numpy as np

        width = int(self._lm.model.config.get_text_config().hidden_size)
        vectors = np.zeros((len(texts), width), dtype=np.float32)
        sequences = [ids[: self.most_tokens] for ids in self._lm.tokenize([text.strip() for text in texts])]
        for batch in _batches(sequences, self._batch_tokens):
            vectors[batch] = self._pooled([sequences[i] for i in batch])
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(lengths > 0, lengths, 1)

    def _pooled(self, sequences: list[list[int]]) -> np.ndarray:
        import torch

        lengths = torch.tensor([len(ids) for ids in sequences])
        ids = torch.zeros(len(sequences), int(lengths.max()), dtype=torch.long)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = torch.tensor(sequence)
        weights = token_weights(lengths, ids.shape[1], self.pooling)
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        model = self._lm.model
        with torch.inference_mode():
            # Without padding no mask is needed, and attention takes its faster causal path.
            padded = {} if bool(mask.all()) else {"attention_mask": mask.to(model.device)}
            states = model.base_model(input_ids=ids.to(model.device), use_cache=False, **padded).last_hidden_state
            pooled = torch.einsum("bth,bt->bh", states.float(), weights.to(model.device))
        found: np.ndarray = pooled.cpu().numpy()
        return found


def token_weights(lengths: torch.Tensor, width: int, pooling: str) -> torch.Tensor:
    """What each token counts, float32 (sequences, width): every row sums to 1 and is 0 on padding.

    Args:
        lengths: int64 (sequences,), each at least 1.
        width: tokens per row with the padding, which is on the right.
        pooling: one of `POOLINGS`.
    """
    import torch

    place = torch.arange(1, width + 1)[None]
    inside = place <= lengths[:, None]
    if pooling == "last":
        return (place == lengths[:, None]).float()
    counted = inside.float() if pooling == "mean" else (place * inside).float()
    return counted / counted.sum(dim=1, keepdim=True)


def _batches(sequences: Sequence[Sequence[int]], batch_tokens: int) -> Iterator[list[int]]:
    """Rows that have tokens, longest first: the first of a batch sets its width; too little memory shows at once."""
    batch: list[int] = []
    for i in sorted((i for i, ids in enumerate(sequences) if ids), key=lambda i: -len(sequences[i])):
        if batch and (len(batch) + 1) * len(sequences[batch[0]]) > batch_tokens:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def open_pooled(spec: str, name: str, pooling: str) -> PooledEncoder:
    """The encoder over a model folder or hub name; an adapter's folder opens its base with the adapter merged in.

    Raises:
        ModelError: a library or the model is missing, or it is not a causal language model.
    """
    folder = Path(name).expanduser()
    if (folder / "adapter_config.json").is_file():
        model, tokenizer = with_adapter(folder)
        model = model.merge_and_unload().eval()
    else:
        model, tokenizer = load(name)
    return PooledEncoder(spec, HuggingFaceCausalLM(spec, model, tokenizer), pooling)


def with_adapter(folder: Path, *, trainable: bool = False) -> tuple[Any, Any]:
    """A base model with the LoRA adapter of a folder on it (as peft has it), and the tokenizer.

    Args:
        folder: as training leaves it: adapter_config.json, the adapter's weights and the tokenizer.
        trainable: whether the adapter's weights take gradients.

    Raises:
        ModelError: peft or torch is missing, or the base model or the adapter can't be opened.
    """
    try:
        from peft import PeftModel
        from transformers import AutoTokenizer
    except ImportError:
        raise ModelError(
            f"The LoRA adapter {folder} needs peft, which is not installed.", fix="pip install 'winnow-studio[train]'"
        ) from None
    base = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")).get("base_model_name_or_path")
    model, tokenizer = load(model_folder(str(base)))
    try:
        if (folder / "tokenizer_config.json").is_file():
            tokenizer = AutoTokenizer.from_pretrained(folder)
        with warnings.catch_warnings():
            # peft asks transformers in a way that this release calls old: nothing that a user could mend.
            warnings.simplefilter("ignore", FutureWarning)
            return PeftModel.from_pretrained(model, str(folder), is_trainable=trainable), tokenizer
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(
            f"The LoRA adapter {folder} could not be opened: {reason}", fix="give the folder of a run that is done"
        ) from None

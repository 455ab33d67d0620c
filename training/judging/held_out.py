"""Held-out loss: what a model thinks of answers it was not trained on, per sample, so that models compare in pairs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from training.data.encoding import Account, Encoded, Encoder, rejected_side
from training.data.mix_folder import Example, MixFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

Model = Any
"""A Hugging Face causal language model, with or without a peft adapter."""

GPU_LOGITS = 2**27
"""Most logits (padded tokens x vocabulary) per batch: 512 MiB in float32."""
CPU_LOGITS = 2**22
"""As many as stay near the caches: eight times as many took twice as long."""
FEWEST_TOKENS = 1024
"""Tokens per batch with any vocabulary."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A held-out preference: both sides encoded."""

    chosen: Encoded
    rejected: Encoded


@dataclass(frozen=True, slots=True)
class HeldOutSet:
    """The held-out rows of a mix, encoded as its training rows are."""

    rows: list[Encoded]
    pairs: list[Pair]
    """For dpo; their chosen sides are `rows`."""
    account: Account

    def measure(self, model: Model) -> dict[str, Any]:
        """Loss per token over all and by source."""
        losses = answer_losses(model, self.rows)
        return {"loss": per_token(self.rows, losses), "loss_by_source": by_source(self.rows, losses)}

    @property
    def rejected(self) -> list[Encoded]:
        """The rejected side of every pair."""
        return [pair.rejected for pair in self.pairs]

    def reference(self, model: Model) -> tuple[np.ndarray, np.ndarray]:
        """What `margins` compares with: the losses of both sides by the model that training started from."""
        return answer_losses(model, self.rows), answer_losses(model, self.rejected)


@dataclass(frozen=True, slots=True)
class JudgedSet(HeldOutSet):
    """Held-out answers that were judged one by one."""

    good: tuple[bool, ...]
    """Per row whether it is a good one."""


def held_out_set(mix: MixFolder, encoder: Encoder, *, pairs: bool) -> HeldOutSet:
    """The rows of eval.jsonl, or its pairs; empty where there are none."""
    account = Account()
    if pairs:
        both = encode_pairs(encoder, mix.examples("eval"), account)
        return HeldOutSet([pair.chosen for pair in both], both, account)
    return HeldOutSet(list(encoder.encode_all(mix.examples("eval"), account)), [], account)


def encode_pairs(encoder: Encoder, examples: Iterable[Example], account: Account) -> list[Pair]:
    """The pairs both of whose answers can be read; `account` counts the chosen sides, and the pairs that can't."""
    pairs = []
    for example in examples:
        if example.rejected is None:
            continue
        chosen, rejected = encoder.encode(example), encoder.encode(rejected_side(example))
        if isinstance(chosen, str) or isinstance(rejected, str):
            account.dropped[chosen if isinstance(chosen, str) else str(rejected)] += 1
        else:
            account.add(chosen)
            pairs.append(Pair(chosen, rejected))
    return pairs


def answer_losses(model: Model, rows: Sequence[Encoded]) -> np.ndarray:
    """Per sample the summed loss (nats, float64) of the tokens that carry loss; `model` keeps its mode and device."""
    import numpy as np
    import torch

    losses = np.zeros(len(rows))
    with evaluating(model), torch.no_grad():
        for batch in in_batches(rows, _tokens_per_batch(model)):
            losses[batch] = _batch_losses(model, [rows[i] for i in batch])
    return losses


def margins(policy: tuple[np.ndarray, np.ndarray], reference: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """By how much more (nats) than the reference the policy prefers chosen to rejected, per pair.

    Each argument is (losses of chosen, losses of rejected) as `answer_losses` gives them.
    """
    result: np.ndarray = (reference[0] - policy[0]) - (reference[1] - policy[1])
    return result


def by_source(rows: Sequence[Encoded], losses: np.ndarray) -> dict[str, float]:
    """Loss per token for every source."""
    sums: dict[str, list[float]] = {}
    for row, loss in zip(rows, losses, strict=True):
        total = sums.setdefault(row.source, [0.0, 0.0])
        total[0] += float(loss)
        total[1] += sum(row.loss)
    return {source: loss / tokens for source, (loss, tokens) in sorted(sums.items())}


def per_token(rows: Sequence[Encoded], losses: np.ndarray) -> float:
    """Loss per token over all rows."""
    return float(losses.sum()) / sum(sum(row.loss) for row in rows)


def _tokens_per_batch(model: Model) -> int:
    logits = GPU_LOGITS if next(model.parameters()).is_cuda else CPU_LOGITS
    return max(FEWEST_TOKENS, logits // int(model.config.get_text_config().vocab_size))


def in_batches(rows: Sequence[Encoded], most: int) -> Iterator[list[int]]:
    """Row numbers, longest first: rows in a batch are about as long, and too little memory shows at once.

    Args:
        rows: to be batched.
        most: padded tokens per batch; a longer row is a batch of its own.
    """
    batch: list[int] = []
    for i in sorted(range(len(rows)), key=lambda i: -len(rows[i].ids)):
        if batch and (len(batch) + 1) * len(rows[batch[0]].ids) > most:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def divergence(model: Model, reference: Callable[[], AbstractContextManager[Model]], rows: Sequence[Encoded]) -> float:
    """KL(model || reference) of the next token, in nats, averaged over the answer tokens of the rows.

    Computed from whole distributions, at the places of answers that neither model wrote: no estimate from samples.

    Args:
        model: keeps its mode and device.
        reference: the other model, for as long as the context lasts; it may be the first one with its adapter off.
        rows: at least one.
    """
    import torch

    total = tokens = 0.0
    with evaluating(model), torch.no_grad():
        # Two sets of logits are held at once.
        for batch in in_batches(rows, max(1, _tokens_per_batch(model) // 2)):
            chosen = [rows[i] for i in batch]
            ours, carries, _ = _answer_logits(model, chosen)
            with reference() as other, evaluating(other):
                theirs, _, _ = _answer_logits(other, chosen)
            ours, theirs = ours.float().log_softmax(-1), theirs.float().log_softmax(-1)
            each = (ours.exp() * (ours - theirs)).sum(-1)
            total += float((each.double() * carries).sum())
            tokens += float(carries.sum())
    return total / tokens


def _batch_losses(model: Model, rows: Sequence[Encoded]) -> np.ndarray:
    import torch

    logits, carries, labels = _answer_logits(model, rows)
    losses = torch.nn.functional.cross_entropy(logits.float().transpose(1, 2), labels, reduction="none")
    summed: np.ndarray = (losses.double() * carries).sum(dim=1).cpu().numpy()
    return summed


def _answer_logits(model: Model, rows: Sequence[Encoded]) -> tuple[Any, Any, Any]:
    """Logits (rows x places x vocabulary), which of these places carry loss, and the tokens that were to come."""
    import torch

    device = next(model.parameters()).device
    longest = max(len(row.ids) for row in rows)
    ids = torch.zeros((len(rows), longest), dtype=torch.long)
    attention, carries = torch.zeros_like(ids), torch.zeros((len(rows), longest), dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : len(row.ids)] = torch.tensor(row.ids)
        attention[i, : len(row.ids)] = 1
        carries[i, : len(row.ids)] = torch.tensor(row.loss)
    # Prompts need no logits: the head runs only where some row of the batch has an answer.
    predicting = carries[:, 1:].any(dim=0).nonzero().flatten()
    logits = _logits(model, ids.to(device), attention.to(device), predicting.to(device))
    return logits, carries[:, predicting + 1].to(device), ids[:, predicting + 1].to(device)


def _logits(model: Model, ids: Any, attention: Any, positions: Any) -> Any:
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    if getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
        # Virtual tokens may come before those of the batch.
        logits = model(input_ids=ids, attention_mask=attention, use_cache=False).logits
        return logits[:, logits.shape[1] - ids.shape[1] :][:, positions]
    if "logits_to_keep" in inspect.signature(type(causal).forward).parameters:
        kept = {"logits_to_keep": positions}
        return model(input_ids=ids, attention_mask=attention, use_cache=False, **kept).logits
    return model(input_ids=ids, attention_mask=attention, use_cache=False).logits[:, positions]


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """The model in evaluation mode, while the context lasts."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)

"""Tuning the base model on a selection, on exactly as many answer tokens as on any other, and its held-out loss.

A step has `STEP_TOKENS` answer tokens: the answers of a selection are laid end to end and cut there, so that an answer
on a cut counts a part in each of two steps. What is seen of a prompt, and how much is padded, is not counted.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import polars as pl

STEP_TOKENS = 768
"""Answer tokens per optimizer step: about ten answers of Alpaca."""
WINDOW = 384
"""Tokens of a sample that are seen; what is longer is cut."""
LEARNING_RATE = 1e-3
RISE = 0.1
"""Share of the steps in which the learning rate rises; then it falls to a tenth in a straight line."""


class Piece(NamedTuple):
    """Answer tokens `first` to `last` (exclusive) of a sample."""

    sample: int
    first: int
    last: int


@dataclass(frozen=True)
class Tokens:
    """Samples in tokens, laid end to end."""

    flat: np.ndarray
    """int32."""
    ends: np.ndarray
    """int64 (samples,): where each sample ends."""
    prompts: np.ndarray
    """int64 (samples,): tokens before its answer."""

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def answers(self) -> np.ndarray:
        """int64 (samples,): tokens of each answer, the end of turn included."""
        found: np.ndarray = np.diff(self.ends, prepend=0) - self.prompts
        return found

    def of(self, sample: int) -> np.ndarray:
        """Prompt and answer of one sample."""
        found: np.ndarray = self.flat[self.ends[sample - 1] if sample else 0 : self.ends[sample]]
        return found

    def save(self, path: Path) -> None:
        """Write as a whole or not at all."""
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez(file, flat=self.flat, ends=self.ends, prompts=self.prompts)
        partial.replace(path)


@functools.cache
def stored(path: Path) -> Tokens:
    """What `Tokens.save` wrote."""
    with np.load(path) as found:
        return Tokens(found["flat"], found["ends"], found["prompts"])


def tokens_of(frame: pl.DataFrame, tokenizer: Any) -> Tokens:
    """`instruction` and `response` in the chat format of the base model, cut to `WINDOW`."""

    def ids(texts: list[str]) -> list[list[int]]:
        found: list[list[int]] = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        return found

    asked = ids([f"<|im_start|>user\n{i}<|im_end|>\n<|im_start|>assistant\n" for i in frame["instruction"]])
    answered = ids([f"{r}<|im_end|>" for r in frame["response"]])
    # A long prompt keeps its end, so that two thirds of the window at least are left for the answer.
    prompts = [a[-max(WINDOW - len(b), WINDOW // 3) :] for a, b in zip(asked, answered, strict=True)]
    whole = [(a + b)[:WINDOW] for a, b in zip(prompts, answered, strict=True)]
    flat = np.fromiter((t for sample in whole for t in sample), np.int32)
    return Tokens(flat, np.cumsum([len(s) for s in whole]), np.array([len(p) for p in prompts], np.int64))


# -------------------------------------------------------------------- what is trained on


def stream(selected: np.ndarray, answers: np.ndarray, tokens: int, seed: int) -> np.ndarray:
    """Samples in the order they are trained on, until their answers reach `tokens`.

    Of a selection with more, only the best come up; of one with less, all come again. Either way each pass is shuffled.

    Args:
        selected: row numbers, best first.
        answers: answer tokens of every row.
        tokens: answer tokens to train on.
        seed: of the order.
    """
    rng = np.random.default_rng(seed)
    sums = np.cumsum(answers[selected])
    if sums[-1] >= tokens:
        first: np.ndarray = rng.permutation(selected[: int(np.searchsorted(sums, tokens)) + 1])
        return first
    passes = [rng.permutation(selected) for _ in range(-(-tokens // int(sums[-1])))]
    order = np.concatenate(passes)
    end = int(np.searchsorted(np.cumsum(answers[order]), tokens)) + 1
    return order[:end]


def steps_of(order: Sequence[int], answers: np.ndarray, tokens: int, per_step: int) -> Iterator[list[Piece]]:
    """Steps of exactly `per_step` answer tokens each, `tokens // per_step` of them."""
    step: list[Piece] = []
    room, steps = per_step, tokens // per_step
    for sample in order:
        first, last = 0, int(answers[sample])
        while first < last and steps:
            taken = min(room, last - first)
            step.append(Piece(int(sample), first, first + taken))
            first, room = first + taken, room - taken
            if not room:
                yield step
                step, room, steps = [], per_step, steps - 1


def batches(lengths: Sequence[int]) -> list[list[int]]:
    """Parts of a step to be computed at once, longest first: none is padded to much more than its own length."""
    found: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not found or lengths[i] < 0.6 * lengths[found[-1][0]]:
            found.append([])
        found[-1].append(i)
    return found


def token_budget(budget: int, answers: np.ndarray) -> int:
    """Answer tokens that so many random samples have on average, in whole steps."""
    return max(1, round(budget * float(answers.mean()) / STEP_TOKENS)) * STEP_TOKENS


def rate(step: int, steps: int) -> float:
    """Share of the learning rate at a step."""
    rise = max(1, round(RISE * steps))
    return (step + 1) / rise if step < rise else 1 - 0.9 * (step - rise) / max(1, steps - rise)


# -------------------------------------------------------------------- training


def begin(threads: int) -> None:
    """Before the first `tuned` of a process."""
    import torch

    torch.set_num_threads(threads)


def tuned(folder: Path, selected: np.ndarray, tokens: int, seed: int) -> dict[str, Any]:
    """Tune the base model in `folder` and evaluate it: epochs, samples, steps, core seconds and the held-out losses.

    Args:
        folder: with the base model, `pool.npz` and `held-out-SOURCE.npz`.
        selected: rows of the pool, best first; where there are none the base model is evaluated as it is.
        tokens: answer tokens to train on.
        seed: of the order of samples.
    """
    import torch

    begun = time.process_time()
    pool = stored(folder / "pool.npz")
    lm = _base(folder)
    seen = stream(selected, pool.answers, tokens, seed) if len(selected) else selected
    if len(selected):
        torch.manual_seed(seed)
        _train(lm.model, pool, list(steps_of(seen.tolist(), pool.answers, tokens, STEP_TOKENS)))
    return {
        "tokens": tokens if len(selected) else 0,
        "steps": tokens // STEP_TOKENS if len(selected) else 0,
        "epochs": tokens / int(pool.answers[selected].sum()) if len(selected) else 0.0,
        "samples": len(np.unique(seen)),
        "losses": losses(lm, folder),
        "core_seconds": round(time.process_time() - begun, 1),
    }


def _base(folder: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    from curation.language_models.causal_lm import HuggingFaceCausalLM

    disable_progress_bar()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32).to(device)
    return HuggingFaceCausalLM("base", model, AutoTokenizer.from_pretrained(folder / "base"))


def _train(model: Any, pool: Tokens, steps: list[list[Piece]]) -> None:
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0, betas=(0.9, 0.95), fused=True)
    model.train()
    for number, pieces in enumerate(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * rate(number, len(steps))
        for batch in batches([int(pool.prompts[p.sample]) + p.last for p in pieces]):
            _loss(model, pool, [pieces[i] for i in batch]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    model.eval()


def _loss(model: Any, pool: Tokens, pieces: Sequence[Piece]) -> Any:
    """Of the answer tokens of these pieces, as their part in the mean over the step's.

    Padding is on the right, where no token of an answer looks: it needs no mask.
    """
    import torch

    texts = [pool.of(p.sample)[: pool.prompts[p.sample] + p.last] for p in pieces]
    ids = np.zeros((len(texts), max(map(len, texts))), np.int64)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = text
    rows = np.concatenate([np.full(p.last - p.first, row) for row, p in enumerate(pieces)])
    columns = np.concatenate([pool.prompts[p.sample] + np.arange(p.first, p.last) for p in pieces])
    given = torch.from_numpy(ids).to(model.device)
    states = model.model(input_ids=given, use_cache=False).last_hidden_state
    logits = model.lm_head(states[rows, columns - 1])
    return torch.nn.functional.cross_entropy(logits, given[rows, columns], reduction="sum") / STEP_TOKENS


def losses(lm: Any, folder: Path) -> dict[str, float]:
    """Source -> mean nats per answer token."""
    found = {}
    for path in sorted(folder.glob("held-out-*.npz")):
        held = stored(path)
        texts = [held.of(i).tolist() for i in range(len(held))]
        values = lm.token_losses(texts, held.prompts.tolist())
        found[path.stem.removeprefix("held-out-")] = float(np.concatenate(values).mean(dtype="float64"))
    return found

"""Train a small causal LM on the corpus itself: the 'pre-experienced' model of the IFD paper, in small.

A byte-level BPE tokenizer and a Llama of about 1.3M parameters, on the CPU, in a minute or two. Equal conversations,
seed and settings give equal weights (on one machine, with one number of threads), whether or not the training was
interrupted: the learning rate follows the step and not the clock, and a checkpoint is written every few steps.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.errors import CorpusError, ModelError
from curation.progress import Progress, silent

if TYPE_CHECKING:
    import numpy as np
    import torch

Conversation = Sequence[Mapping[str, Any]]
"""Turns with `role` and `content`, as the `messages` column of a frame of samples holds them."""

CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ '<|im_start|>assistant\n' }}"
    "{% generation %}{{ m['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""ChatML. The generation block covers the end-of-turn token too, or a model tuned on it never learns to stop."""

_REPORT = "warm_up.json"
_HELD_OUT_ROWS = 64


@dataclass(frozen=True)
class WarmUpSettings:
    """Size of the model and of its training; the defaults take about a minute and a half on two cores."""

    token_budget: int = 800_000
    """Most tokens to train on."""
    epochs: int = 4
    """Most passes over the corpus, where it is smaller than the budget."""
    vocabulary: int = 4096
    """Most tokens of the vocabulary; a small corpus gets one per 64 characters, at least 512."""
    hidden: int = 128
    layers: int = 4
    window: int = 1024
    row_tokens: int = 128
    batch_rows: int = 8
    """Small batches: at this size many small steps learn more from the same tokens than few big ones."""
    learning_rate: float = 3e-3
    checkpoint_steps: int = 100


@dataclass(frozen=True)
class WarmUpReport:
    """What was trained."""

    folder: str
    """Hugging Face folder: configuration, weights, tokenizer and chat template."""
    trained: bool
    """False where an equal model was already there and nothing had to be done."""
    parameters: int
    vocabulary: int
    steps: int
    tokens: int
    """Tokens trained on, repeats included."""
    seconds: float
    """Wall time of the run that finished the training."""
    held_out_loss_before: float | None
    """Mean nats per token on conversations that were not trained on; null where the corpus is too small for any."""
    held_out_loss_after: float | None
    seed: int
    data_hash: str
    """Hash of the conversations, whatever their order."""


def warm_up(
    conversations: Iterable[Conversation],
    folder: Path,
    *,
    seed: int = 0,
    settings: WarmUpSettings | None = None,
    progress: Progress = silent,
) -> WarmUpReport:
    """Train a tokenizer and a small Llama on conversations and leave them in `folder` as a Hugging Face model.

    Killed and called again it goes on from the last checkpoint (beside `folder`, with the suffix `.partial`) and ends
    with the same weights. Called again with equal conversations, seed and settings it returns the stored report.

    Args:
        conversations: without those held out for evaluation; order does not matter.
        folder: replaced as a whole when the training is done.
        seed: of the weights, of the order of rows and of what is held out.
        settings: size and length of the training.
        progress: hears of steps and the training loss.

    Raises:
        CorpusError: there is no text to train on.
        ModelError: torch is not installed.
    """
    began = time.monotonic()
    settings = settings or WarmUpSettings()
    texts = _hashed(map(_chatml, conversations))
    if not texts:
        raise CorpusError("There is no text to warm up on.", fix="winnow ingest CORPUS FILE")
    data_hash = hashlib.sha256("".join(sorted(texts)).encode()).hexdigest()[:16]
    key = json.dumps([data_hash, seed, dataclasses.asdict(settings)])
    stored = _stored_report(folder, key)
    if stored is not None:
        return stored
    trainer = _Trainer(_shuffled(texts, seed), folder.with_name(folder.name + ".partial"), key, seed, settings)
    before, after, steps = trainer.train(progress)
    report = WarmUpReport(
        folder=str(folder),
        trained=True,
        parameters=sum(p.numel() for p in trainer.model.parameters()),
        vocabulary=trainer.tokenizer.get_vocab_size(),
        steps=steps,
        tokens=steps * settings.batch_rows * settings.row_tokens,
        seconds=round(time.monotonic() - began, 1),
        held_out_loss_before=before,
        held_out_loss_after=after,
        seed=seed,
        data_hash=data_hash,
    )
    trainer.save(folder, report)
    return report


def _stored_report(folder: Path, key: str) -> WarmUpReport | None:
    path = folder / _REPORT
    if not path.is_file():
        return None
    stored = json.loads(path.read_text(encoding="utf-8"))
    if stored["key"] != key:
        return None
    return WarmUpReport(**{**stored["report"], "folder": str(folder), "trained": False})


def _chatml(conversation: Conversation) -> str:
    turns = ((m["role"], m["content"] or m.get("tool_calls") or "") for m in conversation)
    text = "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in turns)
    return text.encode("utf-8", "replace").decode()  # half a surrogate pair is no text for a tokenizer


def _hashed(texts: Iterable[str]) -> dict[str, str]:
    """Distinct texts by their hash."""
    return {hashlib.blake2b(text.encode(), digest_size=16).hexdigest(): text for text in texts if text}


def _shuffled(texts: Mapping[str, str], seed: int) -> list[str]:
    """Texts in an order that depends on their hashes and the seed, not on the order they came in."""
    salt = seed.to_bytes(8, "little", signed=True)
    return [texts[key] for key in sorted(texts, key=lambda key: hashlib.blake2b(key.encode(), salt=salt).digest())]


def _until(texts: Sequence[str], characters: int) -> list[str]:
    """The first texts, up to about so many characters."""
    kept: list[str] = []
    total = 0
    for text in texts:
        if kept and total >= characters:
            break
        kept.append(text)
        total += len(text)
    return kept


class _Trainer:
    """The training between its checkpoints: what it makes anew from the texts, and what it keeps on disk."""

    def __init__(self, texts: list[str], partial: Path, key: str, seed: int, settings: WarmUpSettings) -> None:
        try:
            import tokenizers  # noqa: F401
            import torch
            import transformers  # noqa: F401
        except ImportError:
            raise ModelError(
                "Warming up needs torch and transformers, which are not installed.",
                fix="pip install 'winnow-studio[models]'",
            ) from None
        self.partial, self.key, self.seed, self.settings = partial, key, seed, settings
        held_out = min(len(texts) // 20, 500)
        # A token of this vocabulary is shorter than six characters in any language: these fill the budget.
        texts, test = _until(texts[held_out:], 6 * settings.token_budget), texts[:held_out]
        self.tokenizer = _train_tokenizer(texts, settings.vocabulary)
        self.rows = _packed(self.tokenizer, texts, settings.row_tokens)
        self.test_rows = _packed(self.tokenizer, test, settings.row_tokens, fill=False)[:_HELD_OUT_ROWS]
        budget = min(settings.token_budget, settings.epochs * self.rows.size)
        self.steps = max(1, budget // (settings.batch_rows * settings.row_tokens))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = _small_llama(self.tokenizer.get_vocab_size(), self.tokenizer, settings)

    def train(self, progress: Progress) -> tuple[float | None, float | None, int]:
        """Held-out loss before and after, and the steps."""
        import torch

        settings = self.settings
        optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=settings.learning_rate, weight_decay=0.1, betas=(0.9, 0.95), fused=True
        )
        first, before = self._resume(optimizer)
        if first == 0:
            before = self._held_out_loss()
        self.model.train()
        for step in range(first, self.steps):
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * _schedule(step, self.steps)
            batch = torch.from_numpy(self.rows[self._batch(step)]).long()
            loss = self.model(input_ids=batch, labels=batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            done = step + 1
            if done % settings.checkpoint_steps == 0 or done == self.steps:
                self._checkpoint(optimizer, done, before)
            if done % 10 == 0 or done == self.steps:
                progress(done, self.steps, f"loss {loss.item():.3f}")
        return before, self._held_out_loss(), self.steps

    def _batch(self, step: int) -> np.ndarray:
        """Row numbers of a step: a function of step and seed alone, so that a resumed run sees the same rows."""
        import numpy as np

        size, rows = self.settings.batch_rows, len(self.rows)
        wanted = range(step * size, (step + 1) * size)
        orders = {
            epoch: np.random.default_rng([self.seed & 0xFFFFFFFF, epoch]) for epoch in {i // rows for i in wanted}
        }
        shuffled = {epoch: generator.permutation(rows) for epoch, generator in orders.items()}
        return np.array([shuffled[i // rows][i % rows] for i in wanted])

    def _held_out_loss(self) -> float | None:
        import torch

        if not len(self.test_rows):
            return None
        self.model.eval()
        with torch.no_grad():
            batch = torch.from_numpy(self.test_rows).long()
            return float(self.model(input_ids=batch, labels=batch).loss)

    def _checkpoint(self, optimizer: torch.optim.Optimizer, step: int, before: float | None) -> None:
        import torch

        self.partial.mkdir(parents=True, exist_ok=True)
        state = {"key": self.key, "step": step, "before": before}
        state |= {"model": self.model.state_dict(), "optimizer": optimizer.state_dict()}
        unfinished = self.partial / "checkpoint.tmp"
        torch.save(state, unfinished)
        os.replace(unfinished, self.partial / "checkpoint.pt")

    def _resume(self, optimizer: torch.optim.Optimizer) -> tuple[int, float | None]:
        """Steps already done, and the loss before the first; one of other data or settings counts for nothing."""
        import torch

        path = self.partial / "checkpoint.pt"
        state: dict[str, Any] = torch.load(path, weights_only=True) if path.is_file() else {"key": None}
        if state["key"] != self.key:
            return 0, None
        self.model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        return state["step"], state["before"]

    def save(self, folder: Path, report: WarmUpReport) -> None:
        """Write the model beside its place, then put it there by renaming."""
        from transformers import PreTrainedTokenizerFast
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        ready = self.partial / "model"
        shutil.rmtree(ready, ignore_errors=True)
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=self.tokenizer,
            eos_token="<|im_end|>",
            pad_token="<|pad|>",
            extra_special_tokens=["<|im_start|>"],
            model_max_length=self.settings.window,
            clean_up_tokenization_spaces=False,
        )
        tokenizer.chat_template = CHAT_TEMPLATE
        self.model.save_pretrained(ready)
        tokenizer.save_pretrained(ready)
        content = {"key": self.key, "report": dataclasses.asdict(report)}
        (ready / _REPORT).write_text(json.dumps(content, indent=2), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(self.partial / "old", ignore_errors=True)
            folder.rename(self.partial / "old")
        folder.parent.mkdir(parents=True, exist_ok=True)
        ready.rename(folder)
        shutil.rmtree(self.partial)


def _train_tokenizer(texts: Sequence[str], most: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    wanted = min(most, max(512, sum(map(len, texts)) // 64 // 64 * 64))
    trainer = trainers.BpeTrainer(
        vocab_size=wanted,
        special_tokens=["<|im_start|>", "<|im_end|>", "<|pad|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _packed(tokenizer: Any, texts: Sequence[str], width: int, *, fill: bool = True) -> np.ndarray:
    """Texts end to end, cut into rows of `width` tokens; with `fill`, too little text for one row is repeated."""
    import numpy as np

    encoded = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    ids = np.fromiter((i for e in encoded for i in e.ids), dtype=np.int32)
    if fill and len(ids) < width:
        ids = np.resize(ids, width)
    return ids[: len(ids) // width * width].reshape(-1, width)


def _small_llama(vocabulary: int, tokenizer: Any, settings: WarmUpSettings) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    heads = settings.hidden // 32
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=settings.hidden,
        intermediate_size=settings.hidden * 11 // 4,
        num_hidden_layers=settings.layers,
        num_attention_heads=heads,
        num_key_value_heads=max(1, heads // 2),
        head_dim=32,  # one that vLLM's CPU attention has
        max_position_embeddings=settings.window,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.token_to_id("<|im_end|>"),
        pad_token_id=tokenizer.token_to_id("<|pad|>"),
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
    )
    return LlamaForCausalLM(config)


def _schedule(step: int, steps: int) -> float:
    """Share of the learning rate: up over 50 steps (or a tenth of them), then down a cosine to a twentieth."""
    rise = min(50, max(1, steps // 10))
    return min(1.0, (step + 1) / rise) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / steps)))

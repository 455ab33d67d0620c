"""Answers in batches: what a model writes when it always takes the likeliest token, or draws."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

Model = Any
FEWEST_NEW = 8
"""Tokens of room that a prompt must leave in the model's window; else it is not asked."""


@dataclass(frozen=True, slots=True)
class Written:
    """One answer."""

    answer: str
    finish_reason: str
    """stop (the model ended its turn) or length."""
    tokens: int
    """That were written, the end token included."""


def prompt_ids(tokenizer: Any, messages: Sequence[dict[str, Any]]) -> list[int]:
    """Token ids of the messages and of the header that the answer follows."""
    rendered = tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, return_dict=True)
    return list(rendered["input_ids"])


def end_tokens(tokenizer: Any) -> list[int]:
    """The ids that end an answer: the tokenizer's end of text, and what the chat template puts after a turn."""
    ends = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
    turn = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    ids = list(tokenizer.apply_chat_template(turn, return_dict=True)["input_ids"])
    special = [token for token in ids if token in set(tokenizer.all_special_ids)]
    return list(dict.fromkeys([*ends, *special[-1:]]))


def generated(
    model: Model,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    *,
    most_tokens: int,
    batch: int = 16,
    temperature: float | None = None,
    seed: int = 0,
) -> Iterator[tuple[int, Written]]:
    """Answer prompts; pairs of the prompt's number and the answer, in the order of their lengths.

    Args:
        model: a causal language model; it keeps its mode and device.
        tokenizer: with a chat template; says what ends an answer.
        prompts: token ids, each leaving `FEWEST_NEW` tokens of the model's window.
        most_tokens: written per answer at most; fewer where the window ends.
        batch: prompts at a time. They are padded on the left to the longest of them.
        temperature: of drawn answers; null takes the likeliest token each time.
        seed: of drawn answers; equal prompts with an equal seed are answered equally. No other dice are touched.
    """
    window = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1 << 30
    ends = end_tokens(tokenizer)
    with _writing(model):
        for number, rows in enumerate(_batches(prompts, batch, window - most_tokens)):
            most = min(most_tokens, window - max(len(prompts[i]) for i in rows))
            draw = None if temperature is None else (temperature, seed + number)
            for i, ids in zip(rows, _continued(model, [prompts[i] for i in rows], ends, most, draw), strict=True):
                yield i, _read(tokenizer, ids, ends)


def _batches(prompts: Sequence[Sequence[int]], batch: int, room: int) -> Iterator[list[int]]:
    """Longest first, so that too little memory shows at once; those that come near the window's end go alone."""
    rows: list[int] = []
    for i in sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), i)):
        if len(prompts[i]) > room:
            yield [i]
            continue
        rows.append(i)
        if len(rows) == batch:
            yield rows
            rows = []
    if rows:
        yield rows


def _continued(
    model: Model,
    prompts: Sequence[Sequence[int]],
    ends: Sequence[int],
    most: int,
    draw: tuple[float, int] | None = None,
) -> list[list[int]]:
    import torch
    from transformers import GenerationConfig

    longest = max(len(ids) for ids in prompts)
    ids = torch.zeros((len(prompts), longest), dtype=torch.long)
    attention = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(list(prompt))
        attention[row, longest - len(prompt) :] = 1
    device = next(model.parameters()).device
    # Nothing of the model's own settings: temperatures and penalties differ between a base and what came of it.
    how: dict[str, Any] = {"do_sample": False}
    if draw is not None:
        how = {"do_sample": True, "temperature": draw[0], "top_k": 0, "top_p": 1.0}
    chosen = GenerationConfig(
        max_new_tokens=most, eos_token_id=list(ends) or None, pad_token_id=ends[0] if ends else 0, **how
    )
    with torch.no_grad(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        if draw is not None:
            torch.manual_seed(draw[1])
        out = model.generate(input_ids=ids.to(device), attention_mask=attention.to(device), generation_config=chosen)
    rows: list[list[int]] = out[:, longest:].tolist()
    return rows


def _read(tokenizer: Any, ids: Sequence[int], ends: Sequence[int]) -> Written:
    stop = next((place for place, token in enumerate(ids) if token in ends), None)
    text = tokenizer.decode(list(ids[:stop]), skip_special_tokens=True).strip()
    return Written(text, "length" if stop is None else "stop", len(ids) if stop is None else stop + 1)


@contextmanager
def _writing(model: Model) -> Iterator[None]:
    was_training, kept = model.training, model.generation_config
    model.eval()
    try:
        from transformers import GenerationConfig

        model.generation_config = GenerationConfig()
        yield
    finally:
        model.generation_config = kept
        model.train(was_training)

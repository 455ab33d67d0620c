"""The mark a language model would write next: the expected digit from 1 to 6, as DEITA's trained scorers give it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from curation.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from curation.language_models.causal_lm import HuggingFaceCausalLM

DIGITS = ("1", "2", "3", "4", "5", "6")
Exchange = tuple[str, str]
"""What a user said and what was answered; empty where there is no answer."""


def exchanges(
    messages: Sequence[dict[str, Any]] | None, instruction: str | None, response: str | None
) -> list[Exchange]:
    """The exchanges of a conversation, in order; turns of one side in a row are joined by a blank line.

    System and tool turns are left out, and so are answers before the first question and, unless nothing at all was
    answered, questions without an answer.
    """
    if messages is None:
        return [(instruction or "", response or "")]
    found: list[tuple[list[str], list[str]]] = []
    for message in messages:
        content = message["content"] or ""
        if message["role"] == "user":
            if not found or found[-1][1]:
                found.append(([], []))
            found[-1][0].append(content)
        elif message["role"] == "assistant" and found:
            found[-1][1].append(content)
    pairs = [("\n\n".join(asked), "\n\n".join(text for text in answers if text)) for asked, answers in found]
    return [pair for pair in pairs if pair[1]] or pairs


def digit_ids(lm: HuggingFaceCausalLM, prompt: str) -> list[int]:
    """The token of each digit right after this prompt.

    Raises:
        ModelError: the tokenizer does not write one of them as a token of its own there.
    """
    before = encoded(lm, [prompt])[0]
    texts = [lm.tokenizer.decode(before), *(prompt + digit for digit in DIGITS)]
    joint = encoded(lm, texts[1:])
    ids = []
    for digit, whole in zip(DIGITS, joint, strict=True):
        # Where the prompt's last space would melt into the digit, the digit's own token is what follows that space.
        after = whole[len(before) :] if whole[: len(before)] == before else lm.tokenize([digit])[0]
        if len(after) != 1 or lm.tokenizer.decode([*before, *after]) != texts[0] + digit:
            raise ModelError(
                f"The tokenizer of {lm.spec} writes {digit!r} after the prompt as {len(after)} tokens, not as one.",
                fix="name a model that was trained to answer with one digit, such as hkust-nlp/deita-quality-scorer",
            )
        ids.append(after[0])
    return ids


def encoded(lm: HuggingFaceCausalLM, texts: Sequence[str]) -> list[list[int]]:
    """Token ids with the special tokens that the tokenizer puts in front, as when the scorer was trained."""
    if not texts:
        return []
    ids: list[list[int]] = lm.tokenizer(list(texts), verbose=False)["input_ids"]
    return ids


def expected_digit(logits: np.ndarray) -> np.ndarray:
    """Sum of k times the softmax over the six, float64 (rows,), 1..6; NaN where a logit is not a finite number.

    Args:
        logits: (rows, 6), of the digits from 1 on.
    """
    import numpy as np

    high = np.asarray(logits, np.float64)
    with np.errstate(invalid="ignore"):
        shares = np.exp(high - high.max(axis=1, keepdims=True))
        found: np.ndarray = shares @ np.arange(1.0, len(DIGITS) + 1) / shares.sum(axis=1)
    return np.where(np.isfinite(high).all(axis=1), found, np.nan)


def digits(
    lm: HuggingFaceCausalLM, prompts: Sequence[str], batch_tokens: int | None
) -> list[tuple[float | None, str | None]]:
    """The expected digit after each prompt, or null and the reason."""
    import numpy as np

    if not prompts:
        return []
    ids = digit_ids(lm, prompts[0])
    sequences = encoded(lm, prompts)
    fits = [i for i, sequence in enumerate(sequences) if len(sequence) <= lm.window]
    logits = lm.next_logits([sequences[i] for i in fits], ids, batch_tokens=batch_tokens)
    misfit = f"a turn does not fit in the window of {lm.window} tokens"
    found: list[tuple[float | None, str | None]] = [(None, misfit)] * len(prompts)
    for i, value in zip(fits, expected_digit(logits), strict=True):
        found[i] = (float(value), None) if np.isfinite(value) else (None, "the model gave no finite number for a turn")
    return found


def turn_scores(
    prompts: Sequence[Sequence[str | None]],
    empty: str,
    lm: HuggingFaceCausalLM,
    batch_tokens: int | None,
    columns: Sequence[str],
) -> pl.DataFrame:
    """The digits of each sample's turns, their mean, and the reason where that is null.

    Args:
        prompts: one per turn; null where there is nothing to judge.
        empty: the reason where there is a turn with nothing to judge, or no turn.
        lm: the scorer.
        batch_tokens: tokens per forward pass.
        columns: what to call the mean and the list.
    """
    import polars as pl

    marks = iter(digits(lm, [p for turns in prompts for p in turns if p is not None], batch_tokens))
    found = [[(None, empty) if p is None else next(marks) for p in turns] for turns in prompts]
    values = [[value for value, _ in turns] for turns in found]
    reasons = [next((why for _, why in turns if why), None) if turns else empty for turns in found]
    means = [sum(v for v in turns if v is not None) / len(turns) if turns else None for turns in values]
    means = [mean if reason is None else None for mean, reason in zip(means, reasons, strict=True)]
    return pl.DataFrame(
        {
            columns[0]: pl.Series(means, dtype=pl.Float64),
            columns[1]: pl.Series(values, dtype=pl.List(pl.Float64)),
            "reason": pl.Series(reasons, dtype=pl.String),
        }
    )

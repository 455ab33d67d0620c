"""Sample answers while a run trains: the same few held-out prompts each time, so that they can be compared."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice, zip_longest
from typing import Any

from training.config import TrainConfig
from training.data.encoding import Encoder
from training.data.mix_folder import Example, MixFolder
from training.judging.generation import FEWEST_NEW, generated, prompt_ids

LOOKED_AT = 500
"""Held-out rows among which prompts are chosen."""
CPU_TOKENS = 96
"""Longest sample answer without a GPU, where each token takes as long as a thousand tokens of training."""
SHOWN = 2_000
"""Characters of a prompt or a reference that an event keeps."""
OPENING = 48
"""Tokens of a document without turns that are given, for the model to go on from."""


def sample_answers(
    mix: MixFolder, encoder: Encoder, config: TrainConfig
) -> Callable[[Any], list[dict[str, Any]]] | None:
    """What answers the sample prompts, greedily; null where none are asked for or the mix has no held-out rows.

    Its result, in the order of the prompts: id, source, prompt (chat messages), reference (the held-out answer),
    answer, finish_reason (stop or length) and tokens. The state of every random number generator is left as it was.
    """
    prompts = list(islice(_spread(mix, encoder), config.sample_answers))
    if not prompts:
        return None

    def answered(model: Any) -> list[dict[str, Any]]:
        on_gpu = next(model.parameters()).is_cuda
        most = config.max_answer_tokens if on_gpu else min(config.max_answer_tokens, CPU_TOKENS)
        ids = [encoded for _, encoded in prompts]
        with _same_dice():
            written = dict(generated(model, encoder.tokenizer, ids, most_tokens=most))
        return [
            {
                **told,
                "answer": written[i].answer,
                "finish_reason": written[i].finish_reason,
                "tokens": written[i].tokens,
            }
            for i, (told, _) in enumerate(prompts)
            if i in written
        ]

    return answered


def _spread(mix: MixFolder, encoder: Encoder) -> Iterator[tuple[dict[str, Any], list[int]]]:
    """Prompts with their token ids, of every source in turn."""
    by_source: dict[str, list[tuple[dict[str, Any], list[int]]]] = defaultdict(list)
    for example in islice(mix.examples("eval"), LOOKED_AT):
        told, ids = _prompt(example, encoder)
        if ids and len(ids) <= encoder.max_length - FEWEST_NEW:
            by_source[example.source].append((told, ids))
    for round_ in zip_longest(*(by_source[source] for source in sorted(by_source))):
        yield from (prompt for prompt in round_ if prompt is not None)


def _prompt(example: Example, encoder: Encoder) -> tuple[dict[str, Any], list[int]]:
    told: dict[str, Any] = {"id": example.id, "source": example.source}
    if example.text is not None:
        ids = list(encoder.tokenizer(example.text)["input_ids"])
        opening = encoder.tokenizer.decode(ids[:OPENING], skip_special_tokens=True)
        rest = encoder.tokenizer.decode(ids[OPENING:], skip_special_tokens=True)
        return {**told, "prompt": [_message("text", opening)], "reference": rest[:SHOWN] or None}, ids[:OPENING]
    answer = example.answers_from or max(
        (i for i, m in enumerate(example.messages) if m["role"] == "assistant"), default=len(example.messages)
    )
    before = example.messages[:answer]
    reference = str(example.messages[answer].get("content") or "") if answer < len(example.messages) else None
    told |= {"prompt": [_message(m["role"], m.get("content")) for m in before]}
    told |= {"reference": reference[:SHOWN] if reference is not None else None}
    return told, _ids(encoder, before)


def _ids(encoder: Encoder, before: tuple[dict[str, Any], ...]) -> list[int]:
    from jinja2.exceptions import TemplateError

    try:
        return prompt_ids(encoder.tokenizer, before) if before else []
    except (TemplateError, TypeError, ValueError):
        return []  # the template refuses it: it is not trained on either


def _message(role: str, content: Any) -> dict[str, str]:
    return {"role": role, "content": str(content or "")[:SHOWN]}


@contextmanager
def _same_dice() -> Iterator[None]:
    """Leave the random numbers that training will draw as they are."""
    import numpy as np
    import torch

    python, arrays = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(arrays)

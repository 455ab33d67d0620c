"""IFD in batches against the published row-by-row loop, on the same small GPT.

The loop is written anew with the cost structure of the reference (Cherry_LLM: `data_analysis.py`, `data_by_IFD.py`):
one row and one pass at a time, every text tokenized again in both scripts, a loss over the full vocabulary that is
computed with the forward pass, and then a Python loop over all tokens with a log-softmax for each.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measuring import alpaca, in_turn, missing, table

SIZES = ((2, 64, 200), (4, 128, 100), (4, 256, 50))
"""(layers, hidden, rows scored)."""
VOCABULARY = 4_096
"""As in `winnow warm-up`."""
WINDOW = 1024
HEADING = "### Response:"

Pair = tuple[str, str]


def run() -> None:
    """Random GPT-2s of three sizes on the first rows of Alpaca."""
    from curation.files.reading import read_chunks
    from curation.files.shapes import to_sample
    from curation.sample import to_frame
    from curation.scorers import IFD

    file = alpaca()
    if file is None:
        missing("set ALPACA to the path of alpaca_data.json (52,002 rows)")
        return
    samples = [to_sample(row, "a") for _, row in next(read_chunks(file))[:4000] if isinstance(row, dict)]
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = _tokenizer(samples)
        for layers, hidden, rows in SIZES:
            path = Path(folder) / f"{layers}x{hidden}"
            model = _gpt(path, tokenizer, layers, hidden)
            scorer, batch = IFD(model=str(path)), to_frame(samples[:rows])
            pairs = list(batch.select("instruction", "response").iter_rows())
            print(f"  {layers} layers x {hidden}: {model.num_parameters() / 1e6:.1f}M parameters, {rows} rows")
            ours = scorer.score(batch)["ifd"].to_list()
            theirs = row_by_row(model, tokenizer, pairs)
            worst = max(abs(a - b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None)
            missed = sum((a is None) != (b is None) for a, b in zip(ours, theirs, strict=True))
            sides = {
                "the published loop": lambda m=model, p=pairs: row_by_row(m, tokenizer, p),
                "in batches": lambda s=scorer, b=batch: s.score(b),
            }
            table(in_turn(sides), "in batches")
            print(f"  largest difference {worst:.1e}; measured by one side only: {missed}", flush=True)


def _tokenizer(samples: list[Any]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer, pieces.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<|endoftext|>"]
    )
    pieces.train_from_iterator((f"{s.instruction}\n{s.response}" for s in samples), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=pieces, eos_token="<|endoftext|>", model_max_length=WINDOW)


def _gpt(path: Path, tokenizer: Any, layers: int, hidden: int) -> Any:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    ends = {"bos_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id}
    shape = {"n_layer": layers, "n_embd": hidden, "n_head": hidden // 32, "n_positions": WINDOW}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), loss_type="ForCausalLM", **shape, **ends))
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return model.eval()


def row_by_row(model: Any, tokenizer: Any, pairs: list[Pair]) -> list[float | None]:
    """IFD of each pair; null where the reference drops the row."""
    import torch

    model.config.output_hidden_states = True
    with torch.no_grad():
        read = [_read(model, tokenizer, *pair) for pair in pairs]
    return [_ratio(tokenizer, *pair, *losses) for pair, losses in zip(pairs, read, strict=True)]


def _prompt(question: str) -> str:
    from curation.language_models.answer_losses import TEMPLATES

    return TEMPLATES["alpaca"].prompt.replace("{}", question, 1)


def _read(model: Any, tokenizer: Any, question: str, answer: str) -> tuple[list[float], list[float]]:
    """First script: the losses of all tokens of both texts."""
    asked = len(tokenizer.encode(_prompt(question), truncation=True, max_length=WINDOW))
    room = max(1, WINDOW - asked + len(tokenizer.encode(HEADING)))
    alone = _losses(model, tokenizer, HEADING + answer, answer, room)
    return alone, _losses(model, tokenizer, _prompt(question) + answer, answer, WINDOW)


def _losses(model: Any, tokenizer: Any, text: str, answer: str, limit: int) -> list[float]:
    from torch import nn

    log_softmax, negative = nn.LogSoftmax(dim=-1), nn.NLLLoss(reduction="none")
    ids = tokenizer.encode(text, return_tensors="pt", truncation=True, max_length=limit)
    labels = ids.clone()
    labels[0, : len(tokenizer.encode(text[: text.rfind(answer)]))] = -100
    read = model(ids, labels=labels)
    read.loss.exp().to("cpu")
    losses = []
    for place in range(1, ids.shape[1]):
        shares = log_softmax(read.logits[0, place - 1])
        losses.append(negative(shares.unsqueeze(0), ids[0, place].unsqueeze(0)).item())
    return losses


def _ratio(tokenizer: Any, question: str, answer: str, alone: list[float], given: list[float]) -> float | None:
    """Second script: tokenizes again, cuts the answer's losses out and divides their means."""
    import numpy as np

    asked = len(tokenizer.encode(_prompt(question), truncation=True, max_length=WINDOW))
    means = []
    for text, losses in ((HEADING + answer, alone), (_prompt(question) + answer, given)):
        end = len(tokenizer.encode(text, truncation=True, max_length=WINDOW))
        start = len(tokenizer.encode(text[: text.rfind(answer)]))
        if end <= start or asked + end - start > WINDOW:
            return None
        means.append(float(np.array(losses[start - 1 : end - 1]).mean()))
    return means[1] / means[0]

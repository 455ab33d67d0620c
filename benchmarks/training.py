"""Tokens per second of `winnow train` beside bare TRL, of packed beside unpacked samples, and MFU where there is a GPU.

Both sides of a pair train the same model on the same batches with the same `SFTConfig`; the bare one has no losses by
source, no events, no status and nothing to stop it. They take turns in one process, and change who begins. Measured is
what lies between the log of the first step and that of the last: neither loading nor saving.

`python -m benchmarks training`; smaller: `TRAINING_STEPS=4 TRAINING_ROUNDS=1`. The model is a random one of a fitting
size, unless `TRAINING_BASE` names another.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measuring import alpaca, missing
from training.config import TrainConfig

WANTED = 0.98
STEPS = int(os.environ.get("TRAINING_STEPS", "24"))
ROUNDS = int(os.environ.get("TRAINING_ROUNDS", "5"))
ROWS = 4_000
SIZES = {"cpu": (256, 6, 4, 2), "gpu": (2048, 16, 32, 8)}
"""Hidden size, layers, heads, key-value heads: 6 and 900 million parameters."""


@dataclass
class Side:
    """What was measured of one way of training, a number per round."""

    tokens_per_second: list[float] = field(default_factory=list)
    mfu: list[float] = field(default_factory=list)
    no_mfu: str = ""

    @property
    def median(self) -> float:
        """Tokens per second."""
        return statistics.median(self.tokens_per_second)


def run() -> None:
    """Print the table."""
    data = alpaca()
    if data is None:
        missing("Alpaca is not there: set ALPACA to alpaca_data.json")
        return
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        _measure(Path(folder), data)


def _measure(folder: Path, data: Path) -> None:
    import torch

    gpu = torch.cuda.is_available()
    mix = _mix(folder / "mix", data)
    base = os.environ.get("TRAINING_BASE") or str(_model(folder, mix, *SIZES["gpu" if gpu else "cpu"]))
    config = TrainConfig(
        base_model=base,
        adapter="full",
        max_length=2048 if gpu else 256,
        batch_size=16 if gpu else 4,
        max_steps=STEPS,
        save_steps=10_000,
        eval_steps=None,
        sample_answers=0,
    )
    where = torch.cuda.get_device_name() if gpu else f"CPU, {torch.get_num_threads()} threads"
    print(f"  {where}; {STEPS} steps, {ROUNDS} rounds; {config.batch_size} x {config.max_length} tokens", flush=True)
    sides = {name: Side() for name in ("bare, packed", "winnow, packed", "bare, unpacked", "winnow, unpacked")}
    for number in range(ROUNDS):
        for packing, label in (("best-fit", "packed"), ("none", "unpacked")):
            chosen = config.model_copy(update={"packing": packing})
            pair: list[tuple[str, Callable[..., None]]] = [("bare", _bare), ("winnow", _winnow)]
            for name, measure in pair if number % 2 == 0 else reversed(pair):
                measure(sides[f"{name}, {label}"], mix, chosen, folder / f"{number}-{name}-{packing}")
    _show(sides)


def _show(sides: dict[str, Side]) -> None:
    for name, side in sides.items():
        each = " ".join(f"{value:,.0f}" for value in side.tokens_per_second)
        print(f"  {name:<18} {side.median:>10,.0f} tokens/s   ({each})")
    for label in ("packed", "unpacked"):
        winnow, bare = sides[f"winnow, {label}"], sides[f"bare, {label}"]
        ratios = [a / b for a, b in zip(winnow.tokens_per_second, bare.tokens_per_second, strict=True)]
        verdict = "ok" if statistics.median(ratios) >= WANTED else f"less than {WANTED:.0%}"
        print(
            f"  winnow beside bare, {label}: {statistics.median(ratios):.1%} (median of the rounds' ratios; {verdict})"
        )
    packed, unpacked = sides["winnow, packed"], sides["winnow, unpacked"]
    print(f"  packed beside unpacked: {packed.median / unpacked.median:.2f} x as many tokens of samples per second")
    share = f"{statistics.median(packed.mfu):.1%}" if packed.mfu else f"not measured: {packed.no_mfu}"
    print(f"  MFU, packed: {share}", flush=True)


def _winnow(side: Side, mix: Path, config: TrainConfig, folder: Path) -> None:
    """What the process of `winnow train` does, in this one."""
    from training.runs.run_folder import events
    from training.training import prepare
    from training.worker import Worker

    assert Worker(prepare(mix, config, folder).path).work()
    logs = [event for event in events(folder) if event["type"] == "log"]
    first, last = logs[0], logs[-1]
    side.tokens_per_second.append((last["tokens_seen"] - first["tokens_seen"]) / (last["ts"] - first["ts"]))
    measured = [log["mfu"] for log in logs[1:] if log.get("mfu") is not None]
    side.mfu += [statistics.median(measured)] if measured else []
    side.no_mfu = str(last.get("mfu_reason", ""))


def _bare(side: Side, mix: Path, config: TrainConfig, folder: Path) -> None:
    """The trainer alone, over the batches and with the arguments of ours."""
    from transformers import TrainerCallback
    from trl import SFTTrainer

    from training.data.encoding import Encoder
    from training.data.mix_folder import MixFolder
    from training.methods.method import Setup
    from training.methods.opening import open_model, open_tokenizer
    from training.methods.sft import SFT
    from training.methods.source_loss import CHANNELS
    from training.runs.run_folder import RunFolder

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.logs: list[tuple[float, int]] = []

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **rest: Any) -> None:
            if logs and "loss" in logs:
                self.logs.append((time.time(), int(logs["num_tokens"])))

    encoder = Encoder.of(open_tokenizer(config.base_model), config)
    method, clock = SFT(), Clock()
    data = method.data(MixFolder(mix), config, encoder)
    ours = method.build(Setup(config, RunFolder(folder), method.opened(config), encoder, data, [])).trainer
    trainer = SFTTrainer(
        model=open_model(config.base_model),
        args=ours.args,
        train_dataset=ours.train_dataset.remove_columns([CHANNELS]),
        processing_class=encoder.tokenizer,
        callbacks=[clock],
    )
    del ours
    trainer.train()
    (begun, before), (ended, after) = clock.logs[0], clock.logs[-1]
    side.tokens_per_second.append((after - before) / (ended - begun))


def _mix(folder: Path, data: Path) -> Path:
    folder.mkdir(parents=True)
    rows = json.loads(data.read_text(encoding="utf-8"))[:ROWS]
    with (folder / "train.jsonl").open("w", encoding="utf-8") as file:
        for number, row in enumerate(rows):
            question = "\n\n".join(part for part in (row["instruction"], row["input"]) if part)
            messages = [{"role": "user", "content": question}, {"role": "assistant", "content": row["output"]}]
            line = {"id": str(number), "source": f"part {number % 4}", "messages": messages}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return folder


def _model(folder: Path, mix: Path, hidden: int, layers: int, heads: int, key_value_heads: int) -> Path:
    """A random Llama with a tokenizer of the data: how fast it trains does not depend on what it knows."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from curation.warm_up import WarmUpSettings, warm_up

    lines = (mix / "train.jsonl").read_text(encoding="utf-8").splitlines()[:1000]
    small = WarmUpSettings(token_budget=2_000, epochs=1, hidden=32, layers=1)
    warm_up([json.loads(line)["messages"] for line in lines], folder / "tokenizer", settings=small)
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=hidden * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_value_heads,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return folder / "model"


if __name__ == "__main__":
    run()

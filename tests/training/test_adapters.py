from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curation.errors import ModelError, WinnowError
from tests.training.conftest import WriteMix
from tests.training.short_runs import ShortRun, short_run
from tests.training.test_training import CHAT, MATHS
from training.config import TrainConfig
from training.judging.held_out import held_out_set
from training.methods import adapters
from training.methods.opening import open_model

pytestmark = pytest.mark.usefixtures("one_thread")

REFUSED = [
    ({"adapter": "qlora"}, "qlora holds the base in 4 bits, which"),
    ({"optimizer": "adamw_8bit"}, "adamw_8bit keeps its state in 8 bits, which"),
    ({"adapter": "prompt"}, r"samples packed \(best-fit\) share one beginning"),
    ({"adapter": "prefix", "method": "orpo"}, r"orpo can't train virtual tokens \(prefix\)"),
    ({"adapter": "p-tuning", "method": "grpo"}, "grpo can't train virtual tokens"),
    (
        {"adapter": "prefix", "packing": "none", "activation_checkpointing": "on"},
        "which activation checkpointing throws",
    ),
    ({"adapter": "prompt", "packing": "none", "strategy": "fsdp2"}, "outside the model that fsdp2 spreads"),
    ({"adapter": "freeze", "trained_layers": 0}, "freeze with trained_layers 0 trains nothing"),
    ({"adapter": "prompt", "method": "reward"}, "reward can't train virtual tokens"),
    ({"method": "grpo", "lora_variant": "pissa"}, "without pissa's it is not the base"),
    ({"method": "kto", "batch_size": 1}, "batch_size is 1"),
]


@pytest.mark.parametrize("fields, message", REFUSED)
def test_what_can_not_be_is_refused_before_anything_is_loaded(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(WinnowError, match=message) as refused:
        adapters.check(TrainConfig(base_model="m", **fields))
    assert refused.value.fix


def test_pissa_reward_and_spread_models_need_weights_that_are_not_quantized(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    qlora = TrainConfig(base_model="m", adapter="qlora")
    if not torch.cuda.is_available():
        with pytest.raises(WinnowError, match="needs a CUDA GPU: there is none here"):
            adapters.check(qlora)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    adapters.check(qlora)
    for fields in ({"lora_variant": "pissa"}, {"strategy": "fsdp2"}, {"method": "reward"}):
        with pytest.raises(WinnowError):
            adapters.check(qlora.model_copy(update=fields))


def test_nothing_is_trained_on_top_of_virtual_tokens(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "PREFIX_TUNING"}))
    with pytest.raises(WinnowError, match=r"adapter of virtual tokens \(PREFIX_TUNING\), which nothing can train on"):
        adapters.check(TrainConfig(base_model=str(tmp_path)))


@pytest.mark.parametrize("content", ["", "[]", "{}", "\xff"])
def test_a_damaged_adapter_config_is_two_lines(content: str, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(content, encoding="latin-1")
    with pytest.raises(ModelError, match="can't be read as that of an adapter"):
        adapters.check(TrainConfig(base_model=str(tmp_path)))


def test_every_adapter_of_the_config_says_which_fields_it_reads() -> None:
    from typing import get_args

    assert set(adapters.READS) == set(get_args(TrainConfig.model_fields["adapter"].annotation))
    assert set().union(*adapters.READS.values()) <= set(TrainConfig.model_fields)


def models() -> list[Any]:
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    sizes: dict[str, Any] = {"vocab_size": 16, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 3}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    return [
        LlamaForCausalLM(LlamaConfig(**sizes, **heads)),
        Qwen2ForCausalLM(Qwen2Config(**sizes, **heads)),
        GPT2LMHeadModel(GPT2Config(vocab_size=16, n_embd=8, n_layer=3, n_head=2)),
    ]


def trained_modules(model: Any) -> set[str]:
    named = (name for name, parameter in model.named_parameters() if parameter.requires_grad)
    return {".".join(name.split(".")[:3]).removesuffix(".weight").removesuffix(".bias") for name in named}


def test_freeze_trains_the_named_layers_of_llama_qwen_and_gpt2() -> None:
    llama, qwen, gpt2 = models()
    for model in (llama, qwen):
        adapters.freeze(model, 2)
        assert trained_modules(model) == {"model.layers.1", "model.layers.2", "model.norm"}
    adapters.freeze(gpt2, 2)
    assert trained_modules(gpt2) == {"transformer.h.1", "transformer.h.2", "transformer.ln_f"}
    adapters.freeze(llama, -1)
    assert trained_modules(llama) == {"model.layers.0"}
    with pytest.raises(WinnowError, match="freeze is to train 4 layers, and the model has 3"):
        adapters.freeze(llama, 4)


@pytest.fixture(scope="module")
def mix(write_mix: WriteMix) -> Path:
    return write_mix(train=MATHS[:8] + CHAT[:8], eval=MATHS[40:44] + CHAT[40:44])


def config(tiny_model: Path, **fields: Any) -> TrainConfig:
    short = {"max_length": 128, "batch_size": 4, "max_steps": 2, "warmup_ratio": 0.0, "learning_rate": 1e-2}
    return TrainConfig(base_model=str(tiny_model), **{**short, "packing": "none", "save_steps": 1, **fields})


ADAPTERS = [
    ({"adapter": "lora", "lora_variant": "pissa", "lora_rank": 4}, 4096),
    ({"adapter": "lora", "lora_variant": "dora", "lora_rank": 4}, 4608),
    ({"adapter": "freeze", "trained_layers": 1}, 9312),
    ({"adapter": "prefix", "virtual_tokens": 4}, 256),
    ({"adapter": "p-tuning", "virtual_tokens": 4}, 3296),
]


def test_lora_has_the_scale_of_its_variant() -> None:
    rslora = adapters.peft_config(TrainConfig(base_model="m", adapter="qlora", lora_variant="rslora", lora_rank=4))
    assert (rslora.use_rslora, rslora.use_dora, rslora.init_lora_weights, rslora.r) == (True, False, True, 4)


@pytest.mark.parametrize("fields, trainable", ADAPTERS, ids=lambda x: str(x) if isinstance(x, int) else None)
def test_an_adapter_trains_what_it_says_and_opens_again_as_it_was(
    fields: dict[str, Any], trainable: int, mix: Path, tiny_model: Path, tmp_path: Path
) -> None:
    trained_and_opened_again(fields, trainable, mix, tiny_model, tmp_path)
    if "lora_variant" in fields:
        told = json.loads((tmp_path / "final" / "adapter_config.json").read_text())
        assert (told["init_lora_weights"], told["r"]) == (True, 8 if fields["lora_variant"] == "pissa" else 4)


def trained_and_opened_again(
    fields: dict[str, Any], trainable: int, mix: Path, tiny_model: Path, tmp_path: Path
) -> ShortRun:
    run = short_run(mix, config(tiny_model, **fields), tmp_path / "run")
    model = run.trainer.model
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == trainable
    held_fast = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    before = run.measure(model)["loss"]
    run.trainer.train()
    after = run.measure(model)["loss"]
    assert after != before
    assert all((model.get_parameter(name) == value).all() for name, value in held_fast.items())

    reopened = open_model(str(run.saved(tmp_path / "final")))
    again = held_out_set(run.mix, run.encoder, pairs=False).measure(reopened)["loss"]
    assert again == pytest.approx(after, abs=1e-5)
    return run


def test_virtual_tokens_are_trained_on_after_a_run_was_resumed(mix: Path, tiny_model: Path, tmp_path: Path) -> None:
    fields = {"adapter": "prompt", "virtual_tokens": 4}
    whole = trained_and_opened_again(fields, 128, mix, tiny_model, tmp_path)
    resumed = short_run(mix, config(tiny_model, **fields), tmp_path / "run")
    resumed.trainer.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoints" / "checkpoint-1"))
    assert resumed.trainer.state.global_step == 2
    assert resumed.measure(resumed.trainer.model) == whole.measure(whole.trainer.model)

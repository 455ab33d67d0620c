"""What a config leaves open is chosen with a reason, and what nothing reads is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from curation.errors import WinnowError
from tests.training.conftest import WriteMix
from training.config import TrainConfig
from training.data.encoding import Encoder
from training.data.mix_folder import MixFolder
from training.methods import METHODS, method_named
from training.methods.adapters import READS
from training.methods.method import Setup
from training.methods.settings import check_settings, unread
from training.methods.setup_facts import setup_facts, strength_told
from training.rates import BETAS
from training.runs.run_folder import RunFolder
from training.training import prepare

ROWS = [{"messages": [{"role": "user", "content": "Tea?"}, {"role": "assistant", "content": "Yes."}]}] * 4

PAIRS = [{"prompt": ROWS[0]["messages"][:1], "chosen": ROWS[0]["messages"][1:], "rejected": ROWS[0]["messages"][1:]}]


def asked(**fields: Any) -> TrainConfig:
    return TrainConfig.checked({"base_model": "m", **fields})


# ------------------------------------------------------------------ beta


@pytest.mark.parametrize(
    ("fields", "beta", "why"),
    [
        ({"method": "dpo"}, 0.1, "Rafailov"),
        ({"method": "dpo", "preference_loss": "ipo"}, 0.1, "Rafailov"),
        ({"method": "dpo", "preference_loss": "sigmoid_norm"}, 5.0, "Tulu 3"),
        ({"method": "kto"}, 0.1, "Ethayarajh"),
        ({"method": "orpo"}, 0.1, "Hong"),
        ({"method": "simpo", "preference_loss": "sigmoid_norm"}, 2.0, "Meng"),
        ({"method": "grpo"}, 0.04, "DeepSeekMath"),
        ({"method": "simpo", "beta": 10}, 10.0, "given in the config"),
        ({"method": "dpo", "beta": ""}, 0.1, "Rafailov"),
    ],
)
def test_beta_is_chosen_by_method_with_its_source_unless_it_is_given(
    fields: dict[str, Any], beta: float, why: str
) -> None:
    value, reason = asked(**fields).strength()
    assert value == beta
    assert why in reason


def test_every_method_that_reads_a_beta_has_one_and_tells_it() -> None:
    losses = get_args(TrainConfig.model_fields["preference_loss"].annotation)
    readers = {method.name for method in METHODS if "beta" in method.reads}
    assert set(BETAS) - set(losses) == readers
    assert strength_told(asked(method="simpo"))["beta"] == 2.0
    assert "Meng" in strength_told(asked(method="simpo"))["beta_reason"]
    assert strength_told(asked()) == {}


def test_simpo_left_alone_asks_for_half_a_nat_per_token_and_not_for_five() -> None:
    config = asked(method="simpo")
    assert config.reward_margin / config.strength()[0] == 0.5


def test_a_config_of_a_run_that_was_begun_with_a_number_keeps_it() -> None:
    old = asked(method="simpo", beta=0.1, reward_margin=0.5)
    assert old.strength() == (0.1, "given in the config")
    assert asked(method="sft", beta=0.1).method == "sft"


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_a_run_that_was_begun_when_beta_was_a_number_goes_on(
    method: str, tiny_model: Path, write_mix: WriteMix, tmp_path: Path
) -> None:
    config = asked(base_model=str(tiny_model), method=method, adapter="full", beta=0.1, reward_margin=0.5)
    mix, run = write_mix(train=PAIRS), tmp_path / "run"
    prepare(mix, config, run).final.mkdir()
    assert prepare(mix, config.model_copy(update={"beta": None, "reward_margin": 1.0}), run).path == run
    if method == "dpo":
        with pytest.raises(WinnowError, match=r"begun with beta = 0\.1, not 0\.5"):
            prepare(mix, config.model_copy(update={"beta": 0.5}), run)


# ------------------------------------------------------------------ what nothing reads


def test_a_setting_that_method_or_adapter_do_not_read_is_named() -> None:
    given = {"order": "staged", "replay": 0.2, "packing": "wrapped", "loss_on": "last", "lora_rank": 64}
    told = unread(asked(method="dpo", adapter="full", rewards="nonsense", **given))
    assert {text.split()[0] for text in told} == {*given, "rewards"}
    assert "packing is not used: dpo does not read it." in told
    assert "lora_rank is not used: adapter full does not read it." in told


def test_a_setting_that_waits_for_another_value_is_named() -> None:
    assert unread(asked(decay_ratio=0.2)) == ["decay_ratio is not used: it is read with scheduler wsd alone."]
    assert unread(asked(decay_ratio=0.2, scheduler="wsd")) == []


@pytest.mark.parametrize("method", [method.name for method in METHODS])
@pytest.mark.parametrize("adapter", list(READS))
def test_defaults_are_never_said_to_be_unused(method: str, adapter: str) -> None:
    assert unread(asked(method=method, adapter=adapter)) == []


def test_patience_without_held_out_losses_on_the_way_is_refused(write_mix: WriteMix, tmp_path: Path) -> None:
    config = asked(patience=3, eval_steps=None)
    with pytest.raises(WinnowError, match="eval_steps is empty") as refused:
        prepare(write_mix(train=ROWS, eval=ROWS), config, tmp_path / "run")
    assert refused.value.fix.startswith("--set eval_steps=50")
    check_settings(asked(patience=3))


def test_a_run_tells_what_it_does_not_use(tiny_model: Path, write_mix: WriteMix, tmp_path: Path) -> None:
    from training.methods.opening import open_tokenizer

    mix = write_mix(train=ROWS)
    config = asked(base_model=str(tiny_model), adapter="full", max_length=64, lora_rank=4, patience=2)
    run, method, told = prepare(mix, config, tmp_path / "run"), method_named("sft"), list[str]()
    encoder = Encoder.of(open_tokenizer(str(tiny_model)), config)
    rows = method.data(MixFolder(mix), config, encoder)
    setup_facts(Setup(config, RunFolder(run.path), method.opened(config), encoder, rows, [], told.append))
    assert told == [
        "lora_rank is not used: adapter full does not read it.",
        "patience 2 is not used: the mix has no held-out rows (eval.jsonl).",
    ]


# ------------------------------------------------------------------ values of the wrong kind


def test_a_packing_that_is_no_word_is_two_lines() -> None:
    with pytest.raises(WinnowError, match="packing"):
        asked(packing=[])
    assert (asked(packing=True).packing, asked(packing="false").packing) == ("best-fit", "none")

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.errors import WinnowError
from curation.language_models.reward_model import open_reward_model
from tests.training.conftest import WriteMix
from tests.training.short_runs import ShortRun, short_run
from tests.training.test_training import PAIRS
from training.config import TrainConfig
from training.data.encoding import Account, Encoded
from training.data.mix_folder import MixFolder
from training.judging.held_out import HeldOutSet, Pair, divergence, encode_pairs, held_out_set
from training.judging.preferences import LOSSES, answer_tokens
from training.methods import kto
from training.methods.dpo import pair_row, positive_loss
from training.methods.kto import UnpairedMix, balance, judged_row, judged_set
from training.methods.opening import open_model
from training.methods.preference import Masking, answer_ids, gains_of
from training.methods.reference_free import imitation

pytestmark = pytest.mark.usefixtures("one_thread")

JUDGED = [
    {
        "id": f"{pair['id']}{label}",
        "source": "judged",
        "prompt": pair["prompt"],
        "completion": pair["chosen" if label else "rejected"],
        "label": label,
    }
    for pair in PAIRS
    for label in (True, False)
]


@pytest.fixture(scope="module")
def mix(write_mix: WriteMix) -> Path:
    return write_mix(train=PAIRS[:24], eval=PAIRS[24:])


def config(tiny_model: Path, **fields: Any) -> TrainConfig:
    short = {"max_length": 64, "batch_size": 8, "max_steps": 3, "warmup_ratio": 0.0, "learning_rate": 5e-3}
    return TrainConfig(base_model=str(tiny_model), **{**short, **fields})


@pytest.fixture(scope="module")
def dpo(mix: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> ShortRun:
    run = short_run(mix, config(tiny_model, method="dpo", adapter="full", beta=0.5), tmp_path_factory.mktemp("dpo"))
    run.trainer.train()
    return run


def pairs_set(mix: MixFolder, encoder: Any) -> HeldOutSet:
    return held_out_set(mix, encoder, pairs=True)


def trl_loss(trainer: Any, loss: str, batch: dict[str, Any]) -> float:
    trainer.loss_types = ["sigmoid" if loss == "dpo-positive" else loss]
    trainer.label_smoothing = 0.2
    if loss == "dpo-positive":
        return float(positive_loss(trainer, trainer.model, batch, False))
    return float(trainer._compute_loss(trainer.model, batch, False))


@pytest.mark.parametrize("loss", LOSSES)
def test_the_held_out_objective_of_a_pair_is_the_loss_that_trl_trains_on(loss: str, dpo: ShortRun) -> None:
    import torch

    held_out = held_out_set(dpo.mix, dpo.encoder, pairs=True)
    rows = [pair_row(pair) for pair in held_out.pairs]
    sides = held_out.reference(dpo.trainer.model)
    gains = gains_of(held_out, sides, held_out.reference(dpo.trainer.ref_model))
    dpo.trainer.model.eval()
    with torch.no_grad():
        trained_on = trl_loss(dpo.trainer, loss, dpo.trainer.data_collator(rows))
    assert LOSSES[loss](gains, 0.5, 0.2).mean() == pytest.approx(trained_on, abs=1e-4)


def test_dpo_tells_what_its_preference_costs(dpo: ShortRun) -> None:
    told = dpo.measure(dpo.trainer.model)
    assert told["pairs"] == 12
    assert told["accuracy"] > 0.9
    assert told["accuracy_interval"][0] > 0.7
    assert told["margin"] == pytest.approx(told["chosen_log_ratio"] - told["rejected_log_ratio"])
    assert told["objective"] < np.log(2)
    assert 0 < told["kl"] < 0.1
    assert (told["chosen_tokens"], told["rejected_tokens"], told["chosen_longer"]) == (6.0, 7.0, 0.0)
    assert told["preference_by_source"]["pairs"]["pairs"] == 12
    logged = dpo.trainer.state.log_history[0]
    assert {"rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen"} <= logged.keys()


def test_the_divergence_of_the_next_token_is_what_the_hand_computes(dpo: ShortRun) -> None:
    import torch

    row = held_out_set(dpo.mix, dpo.encoder, pairs=True).rows[0]
    model, reference = dpo.trainer.model.eval(), dpo.trainer.ref_model
    with torch.no_grad():
        ours, theirs = (m(torch.tensor([row.ids])).logits[0].double().log_softmax(-1) for m in (model, reference))
    at = [i - 1 for i, carries in enumerate(row.loss) if carries]
    expected = float((ours.exp() * (ours - theirs)).sum(-1)[at].mean())
    assert divergence(model, lambda: nullcontext(reference), [row]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "fields",
    [
        {"method": "dpo", "preference_loss": "dpo-positive", "sft_weight": 0.5},
        {"method": "orpo"},
        {"method": "simpo", "beta": 2.0, "reward_margin": 1.0},
        {"method": "kto"},
    ],
    ids=lambda fields: fields["method"],
)
def test_a_preference_is_learnt_by_an_adapter(
    fields: dict[str, Any], mix: Path, tiny_model: Path, tmp_path: Path
) -> None:
    run = short_run(mix, config(tiny_model, **fields), tmp_path / "run")
    before = run.measure(run.trainer.model)
    run.trainer.train()
    after = run.measure(run.trainer.model)
    assert after["objective"] < before["objective"]
    assert after["margin"] > before["margin"]
    assert (before["kl"], before["chosen_log_ratio"]) == (0, 0)
    assert after["kl"] > 0
    reopened = open_model(str(run.saved(tmp_path / "final")))
    rows = judged_set if fields["method"] == "kto" else pairs_set
    assert rows(run.mix, run.encoder).measure(reopened)["loss"] == pytest.approx(after["loss"], abs=1e-5)


def test_a_reward_model_is_opened_by_the_scorer(mix: Path, tiny_model: Path, tmp_path: Path) -> None:
    run = short_run(mix, config(tiny_model, method="reward", adapter="lora"), tmp_path / "run")
    before = run.measure(run.trainer.model)
    run.trainer.train()
    after = run.measure(run.trainer.model)
    assert after["objective"] < before["objective"]
    assert after["accuracy"] > 0.9
    scorer = open_reward_model(f"hf:{run.saved(tmp_path / 'final')}")
    conversations: list[Any] = [[*pair["prompt"], *pair["chosen"]] for pair in PAIRS[24:]]
    given = [value or 0.0 for value, _ in scorer.rewards(conversations)]
    assert np.mean(given) == pytest.approx(after["reward_chosen"], abs=1e-5)


def test_pairs_are_taken_apart_into_judged_answers(mix: Path, write_mix: WriteMix) -> None:
    first, second = list(UnpairedMix(mix).examples("train"))[:2]
    assert (first.id, first.label, first.messages[-1]["content"]) == ("p0:chosen", True, "yes")
    assert (second.id, second.label, second.messages[-1]["content"]) == ("p0:rejected", False, "sey?")
    judged = write_mix(train=JUDGED)
    assert MixFolder(judged).format == "unpaired-preference"
    assert [e.label for e in UnpairedMix(judged).examples("train")][:2] == [True, False]
    with pytest.raises(WinnowError, match=r"Row 1 of .* has no label"):
        list(UnpairedMix(write_mix(train=[{**JUDGED[0], "label": None}])).examples("train"))


def test_the_rarer_kind_of_judged_answers_weighs_more() -> None:
    assert balance([True, True, True, False]) == {"desirable_weight": 1.0, "undesirable_weight": 3.0}
    assert balance([True, True]) == {"desirable_weight": 1.0, "undesirable_weight": 1.0}


def test_only_the_answer_carries_loss_for_preferences(mix: Path, dpo: ShortRun) -> None:
    pair = encode_pairs(dpo.encoder, MixFolder(mix).examples("eval"), Account())[0]
    prompt, answer = answer_ids(pair.rejected)
    decode = dpo.encoder.tokenizer.decode
    assert decode(prompt) == "<|im_start|>user\nSay yes<|im_end|>\n<|im_start|>assistant\n"
    assert decode(answer) == "sey?<|im_end|>"
    assert answer_tokens([pair.rejected]).tolist() == [len(answer)]


TURNS = {
    "id": "turns",
    "source": "turns",
    "prompt": [{"role": "user", "content": "Say yes"}],
    "chosen": [
        {"role": "assistant", "content": "no"},
        {"role": "user", "content": "Again"},
        {"role": "assistant", "content": "yes"},
    ],
    "rejected": [{"role": "assistant", "content": "sey?"}],
}


def carried(dpo: ShortRun, ids: Any, mask: Any) -> str:
    return str(dpo.encoder.tokenizer.decode(ids[mask == 1]))


def test_what_users_say_between_two_answers_of_a_pair_carries_no_loss(dpo: ShortRun, write_mix: WriteMix) -> None:
    mix = MixFolder(write_mix(train=[TURNS]))
    pairs = encode_pairs(dpo.encoder, mix.examples("train"), Account())
    batch = dpo.trainer.data_collator([pair_row(pairs[0])])
    chosen, rejected = zip(batch["input_ids"], batch["completion_mask"], strict=True)
    assert carried(dpo, *chosen) == "no<|im_end|>yes<|im_end|>"
    assert carried(dpo, *rejected) == "sey?<|im_end|>"


def test_what_a_template_writes_before_one_answer_only_carries_no_loss(dpo: ShortRun) -> None:
    chosen = Encoded("p", "s", [1, 2, 3, 4, 5], [False, False, False, True, True])
    rejected = Encoded("p", "s", [1, 2, 9, 9, 6, 7], [False, False, False, False, True, True])
    row = pair_row(Pair(chosen, rejected))
    assert (row["prompt_ids"], row["rejected_ids"]) == ([1, 2], [9, 9, 6, 7])
    mask = dpo.trainer.data_collator([row])["completion_mask"]
    assert mask.tolist() == [[0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 1, 1]]


def test_what_users_say_between_two_judged_answers_carries_no_loss(dpo: ShortRun, write_mix: WriteMix) -> None:
    from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

    mix = UnpairedMix(write_mix(train=[TURNS]))
    good, bad = (judged_row(row) for row in dpo.encoder.encode_all(mix.examples("train"), Account()))
    rows = [
        {**row, "label": row is good, **{f"KL_{name}": other[name] for name in ("completion_ids", "completion_loss")}}
        for row, other in ((good, bad), (bad, good))
    ]
    batch = Masking(DataCollatorForUnpairedPreference(pad_token_id=258), kto.MASKS)(rows)
    answers = [carried(dpo, *one) for one in zip(batch["input_ids"], batch["completion_mask"], strict=True)]
    assert answers == ["no<|im_end|>yes<|im_end|>", "sey?<|im_end|>"]
    others = [carried(dpo, *one) for one in zip(batch["KL_input_ids"], batch["KL_completion_mask"], strict=True)]
    assert others == answers[::-1]


def test_orpo_imitates_answers_by_their_tokens_not_prompts() -> None:
    import torch

    labels = torch.tensor([[-100, -100, 5, 6], [-100, 7, 8, 9]])
    # Two tokens of -1 and three of -2: 8 nats over 5 tokens.
    assert float(imitation(torch.tensor([-1.0, -2.0]), labels)) == pytest.approx(8 / 5)

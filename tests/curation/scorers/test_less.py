"""A LoRA run as training leaves it is made here with peft and torch alone: a scorer reads only its files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from peft import LoraConfig, get_peft_model

from curation.errors import WinnowError
from curation.files.called_functions import tools_of
from curation.files.formats import as_messages
from curation.language_models.causal_lm import load
from curation.language_models.gradients import AdapterGradients, Projection, checkpoints_of, preconditioned, tokens_of
from curation.sample import TURN_DETAILS, Message, Sample, to_frame
from curation.scorers.less import Less, _turns
from curation.scoring import score
from tests.curation.samples import corpus_of, pair
from tests.data import shared
from training.data.mix_folder import example

SUMS = [pair(f"What is {n} plus {n + 1}?", f"It is {2 * n + 1}.", source="sums") for n in range(4)]
TALES = [pair(f"Tell a tale of {w}.", f"Once a {w} met the king and sang.", source="tales") for w in ("fox", "owl")]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six steps of Adam on three samples, with a checkpoint after steps 3 and 6."""
    folder = tmp_path_factory.mktemp("runs") / "warm"
    base = str(shared("reference/tiny_causal_lm"))
    torch.manual_seed(0)
    model, tokenizer = load(base, device="cpu")
    model.name_or_path = base
    model = get_peft_model(model, LoraConfig(target_modules=["q_proj", "v_proj"], r=2, task_type="CAUSAL_LM"))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    rows = [tokens_of(tokenizer, turns(s), 64) for s in (SUMS[3], TALES[0], SUMS[2])]
    history = []
    for step in range(1, 7):
        row = rows[step % 3]
        assert not isinstance(row, str)
        model(input_ids=torch.tensor([row.ids]), labels=torch.tensor([row.labels])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        history.append({"step": step, "learning_rate": 1e-3 / step})
        if step % 3 == 0:
            checkpoint = folder / "checkpoints" / f"checkpoint-{step}"
            model.save_pretrained(checkpoint)
            tokenizer.save_pretrained(checkpoint)
            torch.save(optimizer.state_dict(), checkpoint / "optimizer.pt")
            (checkpoint / "trainer_state.json").write_text(json.dumps({"global_step": step, "log_history": history}))
            (checkpoint / "complete").touch()
    config = {"method": "sft", "adapter": "lora", "save_steps": 3, "max_length": 64}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def turns(sample: Sample) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content} for m in sample.messages]


def frame(samples: list[Sample], tags: list[list[str]] | None = None) -> pl.DataFrame:
    labels = pl.Series("tags", tags or [[] for _ in samples], dtype=pl.List(pl.String))
    return to_frame(samples).with_columns(labels)


def test_the_step_of_adam_by_hand_on_two_parameters() -> None:
    # mean 0.9 * 1 + 0.1 * 2 = 1.1 and 0.9 * 0 + 0.1 * -1 = -0.1; square 0.99 * 4 + 0.01 * 4 = 4 and 0.01 * 1 = 0.01.
    found = preconditioned(
        torch.tensor([2.0, -1.0]),
        torch.tensor([1.0, 0.0]),
        torch.tensor([4.0, 0.0]),
        betas=(0.9, 0.99),
        eps=0.1,
    )
    assert found.tolist() == pytest.approx([1.1 / (2 + 0.1), -0.1 / (0.1 + 0.1)])


def test_the_projection_keeps_cosines_and_depends_on_its_seed_only() -> None:
    rng = np.random.default_rng(0)
    shared_part = rng.normal(size=20_000)
    rows = torch.tensor(np.stack([shared_part + a * rng.normal(size=20_000) for a in (0, 0.5, 2)]), dtype=torch.float32)
    few = Projection(1024).of(rows)
    cosine = torch.nn.functional.cosine_similarity
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert cosine(few[a], few[b], dim=0).item() == pytest.approx(cosine(rows[a], rows[b], dim=0).item(), abs=0.08)
    assert torch.equal(few, Projection(1024).of(rows))
    assert not torch.equal(few, Projection(1024, seed=1).of(rows))


def test_the_projection_is_the_same_in_any_blocks_of_rows() -> None:
    rows = torch.randn(5, 3_000, generator=torch.Generator().manual_seed(0))
    together = Projection(64).of(rows)
    torch.testing.assert_close(together[3:], Projection(64).of(rows[3:]))


def test_checkpoints_carry_the_mean_learning_rate_since_the_one_before(run: Path) -> None:
    found = checkpoints_of(run)
    assert [c.step for c in found] == [3, 6]
    assert found[0].learning_rate == pytest.approx(1e-3 * (1 + 1 / 2 + 1 / 3) / 3)
    assert found[1].learning_rate == pytest.approx(1e-3 * (1 / 4 + 1 / 5 + 1 / 6) / 3)


def test_a_gradient_is_that_of_the_mean_loss_of_the_answer(run: Path) -> None:
    opened = AdapterGradients(checkpoints_of(run)[0])
    row = tokens_of(opened.tokenizer, turns(SUMS[0]), 64)
    assert not isinstance(row, str)
    found = opened.gradient(row)
    weight, nudge = opened.parameters[1], 1e-2  # a B matrix: A has hardly a gradient while B is near 0
    place = opened.parameters[0].numel()
    with torch.no_grad():
        losses = []
        for sign in (1, -1):
            weight[0, 0] += sign * nudge
            logits = opened.model(input_ids=torch.tensor([row.ids])).logits[0]
            at = [i for i, label in enumerate(row.labels) if label >= 0]
            losses.append(-logits.log_softmax(-1)[[i - 1 for i in at], [row.ids[i] for i in at]].mean().item())
            weight[0, 0] -= sign * nudge
    assert found[place].item() == pytest.approx((losses[0] - losses[1]) / (2 * nudge), rel=0.05, abs=1e-6)


def by_hand(run: Path, samples: list[Sample], targets: list[Sample]) -> list[float]:
    """One sample at a time, without a projection: the mean over these targets."""
    total = np.zeros(len(samples))
    for checkpoint in checkpoints_of(run):
        opened = AdapterGradients(checkpoint)

        def unit(sample: Sample, adam: bool, opened: AdapterGradients = opened) -> np.ndarray:
            row = tokens_of(opened.tokenizer, turns(sample), 64)
            assert not isinstance(row, str)
            g = opened.gradient(row)
            g = opened._as_adam(g) if adam else g
            return (g / g.norm()).numpy()

        aims = [unit(t, adam=False) for t in targets]
        cosines = [[unit(s, adam=True) @ aim for aim in aims] for s in samples]
        total += checkpoint.learning_rate * np.mean(cosines, axis=1)
    return total.tolist()


def test_the_influence_of_each_sample_is_that_of_one_at_a_time(run: Path) -> None:
    samples = frame([*SUMS, *TALES])
    found = Less(run=str(run), target_source="sums", dimensions=100_000).score(samples)
    assert found["less"].to_list() == pytest.approx(by_hand(run, [*SUMS, *TALES], SUMS), abs=1e-7)


def test_of_several_groups_the_one_that_a_sample_helps_most_counts(run: Path) -> None:
    tags = [["t"]] + [[]] * 3 + [["t"], []]
    samples = frame([*SUMS, *TALES], tags)
    grouped = Less(run=str(run), target_tag="t", dimensions=100_000).score(samples)["less"].to_list()
    each = [by_hand(run, [*SUMS, *TALES], [target]) for target in (SUMS[0], TALES[0])]
    assert grouped == pytest.approx(np.max(each, axis=0).tolist(), abs=1e-7)


@pytest.mark.parametrize("place", [0, 5])
def test_a_sample_that_is_the_target_helps_it_most(run: Path, place: int) -> None:
    tags: list[list[str]] = [[] for _ in range(6)]
    tags[place] = ["t"]
    found = Less(run=str(run), target_tag="t", dimensions=512).score(frame([*SUMS, *TALES], tags))["less"].to_list()
    assert np.argmax(found) == place


def test_what_has_no_answer_in_reach_is_not_measured_and_says_why(run: Path) -> None:
    odd = [pair("many words " * 80, "one"), Sample((Message("user", "hello"), Message("assistant", "hi"))), *SUMS[:1]]
    open_end = Sample((Message("user", "a"), Message("assistant", "b"), Message("user", "c")), source="sums")
    found = Less(run=str(run), target_source="sums", dimensions=64).score(frame([*odd, open_end]))
    assert found["less"].is_null().to_list() == [True, False, False, True]
    assert found["reason"].to_list() == [
        "no token of its answer is among the first 64",
        None,
        None,
        "it does not end in an answer",
    ]


def test_samples_like_the_target_come_first_and_a_corpus_is_scored_once(run: Path, tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", [*SUMS, *TALES])
    (corpus.path / "runs").mkdir()
    (corpus.path / "runs" / "warm").symlink_to(run)
    target = tmp_path / "target.jsonl"
    target.write_text('{"question": "What is 9 plus 10?", "answer": "It is 19."}\n')
    scorer = Less(run="warm", target=str(target), dimensions=4_096)
    assert score(corpus, scorer).scored == 6
    assert score(corpus, scorer).scored == 0
    best = corpus.frame(["source"], order="less DESC")["source"].to_list()
    assert set(best[:4]) == {"sums"}


def test_what_the_checkpoints_said_of_a_sample_is_kept_and_no_model_is_opened_for_it_again(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = Less(run=str(run), target_source="sums", dimensions=64).in_corpus(tmp_path)
    first = scorer.score(frame([*SUMS, *TALES]))
    monkeypatch.setattr("curation.language_models.gradients.AdapterGradients", None)
    assert scorer.score(frame([*SUMS, TALES[1]]))["less"].to_list() == first["less"].gather([0, 1, 2, 3, 5]).to_list()


def test_turns_are_those_that_training_reads() -> None:
    calls = [{"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}]
    sample = Sample(
        (
            Message("user", "1 + 1?"),
            Message("assistant", "", reasoning="A sum.", tool_calls=json.dumps(calls)),
            Message("tool", "2"),
            Message("assistant", "2"),
        ),
        metadata={TURN_DETAILS: {"2": {"name": "add", "row": 3}}},
        tools='[{"name": "add"}]',
    )
    trained = example(as_messages(sample))
    [row] = to_frame([sample]).rows(named=True)
    assert _turns(row) == list(trained.messages)
    assert tools_of(row["tools"]) == list(trained.tools or ()) == [{"type": "function", "function": {"name": "add"}}]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "needs one target"),
        ({"target_tag": "t", "target_source": "a"}, "needs one target"),
        ({"target": "nowhere.jsonl"}, "can't be read"),
        ({"target_tag": "unheard"}, "the tag 'unheard', has no sample"),
        ({"target_tag": "t", "run": "nowhere"}, "no training run"),
    ],
)
def test_a_target_or_run_that_is_none_is_two_lines(run: Path, settings: dict[str, str], message: str) -> None:
    with pytest.raises(WinnowError, match=message) as error:
        Less(**{"run": str(run), **settings}).score(frame(SUMS))
    assert len(str(error.value).split("\n")) == 2


def test_a_run_without_an_adapter_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"method": "sft", "adapter": "full"}')
    with pytest.raises(WinnowError, match="method sft and adapter full"):
        Less(run=str(tmp_path), target_tag="t").fingerprint()

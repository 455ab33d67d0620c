"""Answers of a run's models to a fixed set of prompts, and all that is found out from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from curation.progress import Progress
from training.data.encoding import Encoder
from training.data.mix_folder import Example, MixFolder
from training.judging import answers as kept
from training.judging import generation, pairwise, verified
from training.judging.answers import MODELS, Answer, AnswerBook, Prompt
from training.judging.facts import Facts
from training.judging.references import References
from training.judging.verified import Verified
from training.judging.win_rate import WinRate, win_rate
from training.runs.run_folder import RunFolder

AT_ONCE = 16
"""Prompts per batch."""
ANSWERS_FOR_A_JUDGE = 100
"""Held-out prompts where a judge is asked for and no number: the interval of a win rate is then some 20 points wide."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be found out beside held-out losses."""

    answers: int | None = None
    """Prompts that are answered; null: all of a file, `ANSWERS_FOR_A_JUDGE` for a judge, else none."""
    prompts: Path | None = None
    """A JSONL file of prompts; null takes held-out rows."""
    judge: str | None = None
    """Spec of a chat model that compares answers."""
    most_tokens: int = 256
    """Longest answer."""
    lm_eval: Path | None = None
    """Folder for the held-out rows as tasks of lm-eval."""

    @property
    def wants_answers(self) -> bool:
        """Whether anything is to be generated."""
        return bool(self.answers or self.prompts or self.judge) and self.answers != 0


@dataclass(frozen=True)
class Lengths:
    """How long one model's answers are."""

    model: str
    answers: int
    tokens: float
    """Mean."""
    characters: float
    cut: float
    """Share that ended at the longest length allowed and not by themselves."""


@dataclass(frozen=True)
class AnswersReport:
    """What the answers show."""

    prompts: int
    prompts_file: str | None
    """null for held-out rows."""
    too_long: int
    """Prompts that leave no room for an answer in the model's window; they are not asked."""
    most_tokens: int
    settings: str
    """Hash of how the models were asked."""
    weights: dict[str, str]
    """Model -> hash of its weights."""
    lengths: list[Lengths]
    verified: list[Verified]
    references: list[References]
    references_reason: str | None
    judge: str | None
    win_rates: list[WinRate]
    judge_reason: str | None
    """Why there are no win rates."""
    refused: int = 0
    """Prompts that the chat template refuses; they are not asked."""


@dataclass(slots=True)
class Answering:
    """The questions to one run's models; the models come one after another."""

    run: RunFolder
    asked: Asked
    prompts: list[Prompt]
    encoded: list[list[int]]
    """Token ids of the prompts."""
    tokenizer: Any
    settings: str
    too_long: int
    refused: int
    book: AnswerBook
    weights: dict[str, str] = field(default_factory=dict)
    found: dict[str, list[Answer]] = field(default_factory=dict)
    """Model -> its answers in the order of the prompts."""

    def ask(self, name: str, where: str, model: Any, progress: Progress) -> None:
        """Answer what is not answered yet; every batch is kept at once.

        Args:
            name: base, trained or random.
            where: the model's folder or name.
            model: opened from there.
            progress: called with (answers, prompts, what is being done).
        """
        self.weights[name] = weights = weights_of(where)
        known = {i: self.book.found(prompt, name, weights, self.settings) for i, prompt in enumerate(self.prompts)}
        missing = [i for i, answer in known.items() if answer is None]
        written = generation.generated(
            model, self.tokenizer, [self.encoded[i] for i in missing], most_tokens=self.asked.most_tokens, batch=AT_ONCE
        )
        done = len(self.prompts) - len(missing)
        waiting: list[Answer] = []
        for place, text in written if missing else ():
            i = missing[place]
            told = {"answer": text.answer, "finish_reason": text.finish_reason, "tokens": text.tokens}
            known[i] = row = kept.written_down(self.prompts[i], name, weights, self.settings, told)
            self.book.add([row])
            waiting.append(row)
            progress(done + len(waiting), len(self.prompts), f"answers of {name}")
        self.found[name] = [answer for answer in known.values() if answer is not None]


def answering(
    run: RunFolder,
    mix: MixFolder,
    asked: Asked,
    facts: Mapping[str, Facts],
    encoder: Encoder,
    window: int | None,
    dtype: str,
) -> Answering:
    """The prompts of a run, ready to be asked.

    Args:
        run: keeps the answers; those of runs beside it are looked up.
        mix: whose held-out rows are asked where no file is named.
        asked: how many and which.
        facts: metadata of the held-out rows.
        encoder: of the run; its tokenizer has a chat template.
        window: of the models, in tokens; null where it is not known.
        dtype: of the weights; a part of the settings.

    Raises:
        WinnowError: the file of prompts can't be read.
    """
    if asked.prompts:
        prompts = [_prepared(prompt, encoder) for prompt in kept.prompts_in(asked.prompts, asked.answers)]
    else:
        prompts = kept.held_out_prompts(mix, asked.answers or ANSWERS_FOR_A_JUDGE, encoder.prepared)
        prompts = [_with_metadata(prompt, facts.get(prompt.id)) for prompt in prompts]
    tokenizer = encoder.tokenizer
    encoded = [_ids(tokenizer, prompt) for prompt in prompts]
    room = (window or 1 << 30) - generation.FEWEST_NEW
    asked_of = [(prompt, ids) for prompt, ids in zip(prompts, encoded, strict=True) if ids and len(ids) <= room]
    refused = sum(not ids for ids in encoded)
    how = {"most_tokens": asked.most_tokens, "dtype": dtype, "template": str(tokenizer.chat_template)}
    return Answering(
        run, asked, [prompt for prompt, _ in asked_of], [ids for _, ids in asked_of], tokenizer,
        hashlib.sha256(json.dumps(how, sort_keys=True).encode()).hexdigest()[:12],
        len(prompts) - len(asked_of) - refused, refused, AnswerBook(run.path, _neighbours(run)),
    )  # fmt: skip


def _with_metadata(prompt: Prompt, facts: Facts | None) -> Prompt:
    """What the row brings along to check an answer by counts before what the corpus knows."""
    return replace(prompt, metadata={**facts.metadata, **prompt.metadata}) if facts else prompt


def _prepared(prompt: Prompt, encoder: Encoder) -> Prompt:
    """The prompt as the chat template takes it, as held-out rows are."""
    ready = encoder.prepared(Example(prompt.id, prompt.source, prompt.messages))
    return replace(prompt, messages=ready.messages)


def _ids(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Token ids of the prompt; none where the template refuses it."""
    from jinja2.exceptions import TemplateError

    try:
        return generation.prompt_ids(tokenizer, prompt.messages)
    except (TemplateError, TypeError, ValueError):
        return []


def _neighbours(run: RunFolder) -> list[Path]:
    return sorted(path.parent for path in run.path.parent.glob(f"*/{kept.FILE}") if path.parent != run.path)


def weights_of(where: str) -> str:
    """12 hex digits that change with the weights of a model, or of an adapter and its base."""
    from curation.language_models.causal_lm import fingerprint_of

    adapter = Path(where) / "adapter_config.json"
    if not adapter.is_file():
        return fingerprint_of(where)[:12]
    digest = hashlib.sha256(
        weights_of(json.loads(adapter.read_text(encoding="utf-8"))["base_model_name_or_path"]).encode()
    )
    for path in sorted(Path(where).glob("adapter_*")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def report(done: Answering, calls: Path, progress: Progress) -> AnswersReport:
    """Check, compare and judge what was answered; the run keeps what was found of each answer.

    Raises:
        ModelError: the judge can't be reached, or refuses every request.
    """
    answers = [answer for model in MODELS for answer in done.found.get(model, [])]
    progress(0, 2, "checking answers")
    rows = verified.score(answers, {prompt.id: prompt.metadata for prompt in done.prompts})
    verified.keep_scores(done.run.path, rows)
    references, why = verified.references_of(rows, answers)
    progress(1, 2, "judging pairs" if done.asked.judge else "adding up")
    judge, rates, no_judge = _win_rates(done, calls)
    return AnswersReport(
        prompts=len(done.prompts),
        prompts_file=str(done.asked.prompts) if done.asked.prompts else None,
        too_long=done.too_long,
        most_tokens=done.asked.most_tokens,
        settings=done.settings,
        weights=done.weights,
        lengths=[_lengths(model, done.found[model]) for model in MODELS if done.found.get(model)],
        verified=[verified.final_answers_of(rows), verified.code_tests_of(rows)],
        references=references,
        references_reason=why,
        judge=judge,
        win_rates=rates,
        judge_reason=no_judge,
        refused=done.refused,
    )


def _win_rates(done: Answering, calls: Path) -> tuple[str | None, list[WinRate], str | None]:
    """(judge, rates, why none): with a judge by asking it, without one from what is kept of the same answers."""
    others = [name for name in ("base", "random") if done.found.get(name)]
    judge, trained = done.asked.judge, done.found["trained"]
    if judge:
        rows = [row for name in others for row in pairwise.judged(trained, done.found[name], judge, calls=calls)]
        pairwise.keep_pairs(done.run.path, rows)
    else:
        before = pairwise.read_pairs(done.run.path)
        rows = [row for name in others for row in _still_true(done, before, name)]
        judge = str(rows[0]["judge"]) if rows else None
    if not rows:
        return judge, [], "no judge was asked for" if judge is None else "there is no pair to judge"
    return (
        judge,
        [win_rate(name, pairs) for name in others if (pairs := [r for r in rows if r["against"] == name])],
        None,
    )


def _still_true(done: Answering, rows: Sequence[dict[str, Any]], against: str) -> list[dict[str, Any]]:
    """Judged pairs that are about these very answers; none unless all prompts are among them."""
    current = pairwise.still_true(rows, done.found, against)
    return current if {r["id"] for r in current} == {prompt.id for prompt in done.prompts} else []


def _lengths(model: str, answers: Sequence[Answer]) -> Lengths:
    n = len(answers)
    return Lengths(
        model,
        n,
        sum(a.tokens for a in answers) / n,
        sum(len(a.answer) for a in answers) / n,
        sum(a.finish_reason == "length" for a in answers) / n,
    )

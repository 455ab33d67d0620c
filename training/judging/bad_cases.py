"""Bad cases: the answers of a run that break a rule, grouped by rule, each with the nearest samples of its mix.

What a model answers badly it has mostly learned from something, or not learned for want of it: the neighbours are what
to look at, to give more weight to, or to make new samples from. `RUN/bad_cases.json` keeps what was found.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from curation.errors import WinnowError, unknown
from curation.progress import Progress, silent
from training.data.mix_folder import Example, MixFolder
from training.judging.answer_rules import RULES, Finding, findings
from training.judging.answers import Answer, read_answers
from training.judging.claims import judged_claims
from training.judging.neighbours import LEXICAL, Neighbour, Space, lexical_space, stored_space
from training.judging.verified import read_scores
from training.runs.run_folder import RunFolder

FILE = "bad_cases.json"
NEIGHBOURS = 5
NO_JUDGE = "no judge has read the answer (--judge SPEC); nothing else can tell"


@dataclass(frozen=True)
class BadCase:
    """An answer and the rule that it breaks."""

    id: str
    source: str
    rule: str
    why: str
    question: str
    answer: str
    reference: str | None
    neighbours: list[Neighbour]
    """Samples that the run was trained on, nearest first."""


@dataclass(frozen=True)
class RuleGroup:
    """The answers that break one rule."""

    rule: str
    meaning: str
    cases: int | None
    """null where the rule could not tell for any answer."""
    checked: int
    """Answers of which it can tell."""
    base_cases: int | None
    """The same of the base model's answers to the same prompts; null where it was not asked."""
    unknown: dict[str, int]
    """Why it can't tell -> answers, the commonest reason first."""
    bad: list[BadCase]


@dataclass(frozen=True)
class BadCasesReport:
    """All groups, the one with the most cases first."""

    run: str
    model: str
    answers: int
    bad_answers: int
    """That break a rule or more."""
    mix: str
    space: str
    """What neighbours are near by: `lexical`, or the name of an embedding."""
    groups: list[RuleGroup]
    judge: str | None = None
    """Who looked for contradicted claims; null: nobody."""
    neighbours: int = NEIGHBOURS
    """Asked for, of each case."""
    answers_sha256: str | None = None
    """Of the answers and their scores."""


def bad_cases(
    run_dir: Path | str,
    *,
    model: str = "trained",
    embedding: str | None = None,
    corpus_folder: Path | None = None,
    neighbours: int = NEIGHBOURS,
    judge: str | None = None,
    progress: Progress = silent,
) -> BadCasesReport:
    """Group what a run answers badly; the report is kept in the run's folder.

    Args:
        run_dir: a run whose answers were written by `evaluate`.
        model: `trained`, `base` or `random`.
        embedding: of the corpus, by whose vectors neighbours are found; by wording when null.
        corpus_folder: that the embedding lies in.
        neighbours: samples of the mix for each case.
        judge: spec of a chat model that looks for contradicted claims; without one `hallucinated` is null.
        progress: told the steps.

    Raises:
        WinnowError: the run has no answers of this model, its mix is gone, or the embedding or judge can't be used.
    """
    run = RunFolder(Path(run_dir).expanduser().resolve())
    given = read_answers(run.path)
    answers = [answer for answer in given if answer.model == model]
    scores = read_scores(run.path)
    if not answers:
        raise WinnowError(
            f"The run {run.path} has no answers of its {model} model.",
            fix=f"winnow evaluate {run.path} --answers 50",
        )
    progress(0, 3, f"{len(answers):,} answers by {len(RULES)} rules")
    calls = corpus_folder / "calls.sqlite" if corpus_folder else None
    claims = judged_claims(answers, judge, calls=calls) if judge else {}
    found = _all_findings(answers, scores, claims)
    asked = {answer.id for answer in answers}
    of_base = [a for a in given if a.model == "base" and a.id in asked] if model != "base" else []
    base = _all_findings(of_base, scores, {}) if of_base else None
    progress(1, 3, "the samples that were trained on")
    mix, examples = _trained_on(run, model)
    space = _space(examples, embedding, corpus_folder)
    progress(2, 3, f"the nearest samples by {space.spec}")
    near = _nearest(answers, found, space, neighbours)
    groups = [_group(rule, answers, found, base, near) for rule in RULES]
    bad = {finding_id for group in groups for finding_id in (case.id for case in group.bad)}
    ordered = sorted(groups, key=lambda group: (-(group.cases or 0), group.cases is None))
    report = BadCasesReport(
        run=str(run.path),
        model=model,
        answers=len(answers),
        bad_answers=len(bad),
        mix=str(mix),
        space=space.spec,
        groups=ordered,
        judge=judge,
        neighbours=neighbours,
        answers_sha256=_hash(answers, scores),
    )
    run.write(FILE, asdict(report))
    progress(3, 3, f"{len(bad):,} of {len(answers):,} answers break a rule")
    return report


def found_bad_cases(run_dir: Path | str) -> dict[str, Any] | None:
    """The report that the run in this folder keeps; null where there is none."""
    return RunFolder(Path(run_dir)).read(FILE) or None


def kept_bad_cases(
    run_dir: Path | str,
    *,
    model: str = "trained",
    embedding: str | None = None,
    neighbours: int | None = None,
    judge: str | None = None,
) -> dict[str, Any] | None:
    """The report that the run keeps, where it is of these answers and was made as is asked; null otherwise.

    Args:
        run_dir: of the run.
        model: `trained`, `base` or `random`.
        embedding: as `bad_cases` takes it.
        neighbours: of each case; any number when null.
        judge: any, or none, when null: what a judge has found is not thrown away.
    """
    run = RunFolder(Path(run_dir).expanduser().resolve())
    report = found_bad_cases(run.path) or {}
    answers = [answer for answer in read_answers(run.path) if answer.model == model]
    same: dict[str, Any] = {
        "model": model,
        "space": embedding or LEXICAL,
        "answers_sha256": _hash(answers, read_scores(run.path)),
    }
    same |= {} if neighbours is None else {"neighbours": neighbours}
    same |= {} if judge is None else {"judge": judge}
    return report if report and all(report.get(key) == value for key, value in same.items()) else None


def _hash(answers: Sequence[Answer], scores: Mapping[tuple[str, str], Mapping[str, Any]]) -> str:
    told = [[asdict(answer), dict(scores.get((answer.id, answer.model), {}))] for answer in answers]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def neighbours_of(report: Mapping[str, Any], rules: Collection[str] = ()) -> list[tuple[str, float, int]]:
    """The samples near the cases of some rules: (id, best similarity, cases it is near to), the nearest first.

    Args:
        report: as `asdict` gives it, or as `found_bad_cases` reads it.
        rules: of which cases; all when empty.

    Raises:
        WinnowError: there is no such rule, or its cases have no neighbours.
    """
    for rule in rules:
        if rule not in RULES:
            raise unknown("rule", rule, RULES)
    best: dict[str, float] = {}
    times: Counter[str] = Counter()
    for group in report["groups"]:
        for case in group["bad"] if not rules or group["rule"] in rules else ():
            for neighbour in case["neighbours"]:
                best[neighbour["id"]] = max(best.get(neighbour["id"], -1.0), neighbour["similarity"])
                times[neighbour["id"]] += 1
    if not best:
        raise WinnowError(
            f"There is no bad case{f' of {chr(44).join(rules)}' if rules else ''}: nothing is near it.",
            fix="choose another --rule, or be glad",
        )
    return [(i, best[i], times[i]) for i in sorted(best, key=lambda i: (-best[i], i))]


def _all_findings(
    answers: Sequence[Answer],
    scores: Mapping[tuple[str, str], Mapping[str, Any]],
    claims: Mapping[str, Finding],
) -> list[dict[str, Finding]]:
    nothing = Finding("hallucinated", None, NO_JUDGE)
    judged = [claims.get(answer.id, nothing) for answer in answers]
    plain = findings(answers, scores)
    return [{f.rule: f for f in (*of_one, claim)} for of_one, claim in zip(plain, judged, strict=True)]


def arm_of(run: RunFolder, model: str = "trained") -> str:
    """The file of the mix that one of a run's models learned from: `train`, or `random`."""
    return "random" if model == "random" or run.read("config.json").get("arm") == "random" else "train"


def _trained_on(run: RunFolder, model: str) -> tuple[Path, list[Example]]:
    """The mix and its samples that the model was trained on; for the base, those of the run."""
    arm, mix = arm_of(run, model), MixFolder(Path(run.read("data.json").get("mix", "")))
    if not mix.has(arm):
        raise WinnowError(f"The mix of the run {run.path} is gone: {mix.path}.", fix="export it again to that folder")
    # A sample that is in the mix several times is one neighbour.
    return mix.path, list({example.id: example for example in mix.examples(arm)}.values())


def _space(examples: Sequence[Example], embedding: str | None, corpus_folder: Path | None) -> Space:
    if embedding is None or (embedding == LEXICAL and corpus_folder is None):
        return lexical_space(examples)
    if corpus_folder is None:
        raise WinnowError(
            f"The embedding {embedding!r} belongs to a corpus, and the run lies in none.", fix="leave --embedding out"
        )
    return stored_space(corpus_folder, embedding, examples)


def _nearest(
    answers: Sequence[Answer], found: Sequence[Mapping[str, Finding]], space: Space, count: int
) -> dict[str, list[Neighbour]]:
    """Prompt id -> neighbours of what should have been answered; of bad answers only."""
    bad = [a for a, rules in zip(answers, found, strict=True) if any(f.broken for f in rules.values())]
    # A bad answer says little of what was wanted: the reference stands for it where there is one.
    texts = ["\n\n".join(part for part in (a.question, a.reference) if part) for a in bad]
    return {a.id: near for a, near in zip(bad, space.nearest(texts, count), strict=True)} if bad else {}


def _group(
    rule: str,
    answers: Sequence[Answer],
    found: Sequence[Mapping[str, Finding]],
    base: Sequence[Mapping[str, Finding]] | None,
    near: Mapping[str, list[Neighbour]],
) -> RuleGroup:
    told = [(answer, of_answer[rule]) for answer, of_answer in zip(answers, found, strict=True) if rule in of_answer]
    unknown_reasons = Counter(f.why for _, f in told if f.broken is None)
    checked = sum(f.broken is not None for _, f in told)
    bad = [
        BadCase(a.id, a.source, rule, f.why, a.question, a.answer, a.reference, near.get(a.id, []))
        for a, f in told
        if f.broken
    ]
    known = [of_answer[rule].broken for of_answer in base or () if rule in of_answer]
    told_of_base = [broken for broken in known if broken is not None]
    return RuleGroup(
        rule=rule,
        meaning=RULES[rule],
        cases=len(bad) if checked else None,
        checked=checked,
        base_cases=sum(told_of_base) if told_of_base else None,
        unknown=dict(unknown_reasons.most_common(5)),
        bad=bad,
    )

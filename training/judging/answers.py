"""Answers of the models to a fixed set of prompts, kept in `RUN/answers.jsonl`.

The prompts are held-out rows, or a file of the user's. A later call goes on where one was stopped; equal weights with
equal settings are never asked the same again, also where another run beside this one has asked them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from curation.errors import WinnowError
from training.data.mix_folder import CHECKS, Example, MixFolder, example

FILE = "answers.jsonl"
MODELS = ("base", "trained", "random")


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked, and what a good answer would be."""

    id: str
    source: str
    messages: tuple[dict[str, Any], ...]
    """Chat messages up to the turn that is to be written."""
    reference: str | None
    metadata: dict[str, Any] = field(default_factory=dict)
    """Where the expected answer or the tests may be."""

    @property
    def question(self) -> str:
        """The last turn of the user."""
        return next((str(m["content"]) for m in reversed(self.messages) if m["role"] == "user"), "")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model wrote."""

    id: str
    source: str
    prompt: list[dict[str, Any]]
    reference: str | None
    model: str
    """base, trained or random."""
    answer: str
    finish_reason: str
    """stop, or length: it was cut."""
    tokens: int
    """Written ones, the end token included."""
    weights: str
    """Hash of the model."""
    settings: str
    """Hash of how it was asked."""

    @property
    def question(self) -> str:
        """The last turn of the user."""
        return next((str(m["content"]) for m in reversed(self.prompt) if m["role"] == "user"), "")


def held_out_prompts(mix: MixFolder, count: int, prepared: Callable[[Example], Example]) -> list[Prompt]:
    """`count` rows of eval.jsonl (all where there are fewer), drawn by the hash of their ids; the same every time.

    Of a conversation the last answer is to be written. Rows without an answer, and documents, are left out.

    Args:
        mix: the folder.
        count: at most.
        prepared: turns a row into what the chat template takes.
    """
    rows = (prompt_of(prepared(e)) for e in mix.examples("eval") if e.text is None)
    found = _told_apart((p for p in rows if p is not None and p.reference is not None), mix.path / "eval.jsonl")
    return sorted(found, key=lambda p: hashlib.sha256(p.id.encode()).digest())[:count]


def prompt_of(row: Example) -> Prompt | None:
    """The row as a prompt with its reference; null where it has no turn of a user."""
    messages = list(row.messages)
    last = max((i for i, m in enumerate(messages) if m["role"] == "assistant"), default=len(messages))
    reference = str(messages[last]["content"]) if last < len(messages) and row.label is not False else None
    asked = tuple(messages[:last])
    if not any(m["role"] == "user" for m in asked):
        return None
    return Prompt(row.id, row.source, asked, reference, dict(row.checks))


def prompts_in(path: Path, count: int | None) -> list[Prompt]:
    """The first `count` prompts of a JSONL file (all without a count).

    A line is a row of any format that can be trained on, or `{"prompt": "..."}` with `reference`, `source`, `id` and
    `metadata` where there are some. A line without an id is named by a hash of what it asks and of its reference.

    Raises:
        WinnowError: the file can't be read, is empty, a line holds no prompt, or two prompts have one id.
    """
    try:
        with Path(path).open(encoding="utf-8") as lines:
            found = _told_apart(
                (_of_line(line, number, path) for number, line in enumerate(lines, start=1) if line.strip()),
                path,
                count,
            )
    except OSError as error:
        raise WinnowError(f"The prompts {path} can't be read: {error.strerror}.", fix="give a JSONL file") from None
    except UnicodeDecodeError as error:
        raise WinnowError(
            f"The prompts {path} are not UTF-8: they have the byte {error.object[error.start]:#04x}.",
            fix="save the file as UTF-8",
        ) from None
    if not found:
        raise WinnowError(f"The file {path} has no prompts.", fix='write one {"prompt": "..."} on each line')
    return found


def _told_apart(prompts: Iterable[Prompt], path: Path, count: int | None = None) -> list[Prompt]:
    """The first `count` prompts, each once: answers, verdicts and scores are paired by id."""
    found: dict[str, Prompt] = {}
    for prompt in prompts:
        if count is not None and len(found) >= count:
            break
        if found.setdefault(prompt.id, prompt) != prompt:
            raise WinnowError(
                f"Two different prompts in {path} have the id {prompt.id}.", fix="give every line an id of its own"
            )
    return list(found.values())


def _of_line(line: str, number: int, path: Path) -> Prompt:
    try:
        row = json.loads(line)
        found = _of_row(row, path.stem)
    except (ValueError, KeyError, TypeError, AttributeError):
        found = None
    if found is None:
        raise WinnowError(
            f"{path}:{number} holds no prompt.",
            fix='write {"prompt": "...", "reference": "..."}, or a row of a format that can be trained on',
        )
    return found


def _of_row(row: dict[str, Any], source: str) -> Prompt | None:
    found = _read_row(row, {"id": str(row.get("id") or ""), "source": str(row.get("source") or source)})
    if found is None or found.id:
        return found
    asked = [*found.messages, {"reference": found.reference}]
    return replace(found, id=prompt_hash(asked))


def _read_row(row: dict[str, Any], named: dict[str, str]) -> Prompt | None:
    metadata = row["metadata"] if isinstance(row.get("metadata"), dict) else {}
    if "prompt" in row and not {"completion", "chosen"} & row.keys():
        asked = row["prompt"]
        messages = [{"role": "user", "content": asked}] if isinstance(asked, str) and asked.strip() else list(asked)
        checks = {name: row[name] for name in CHECKS if name != "reference" and row.get(name)}
        reference = _reference(row.get("reference"))
        return Prompt(**named, messages=tuple(_checked(messages)), reference=reference, metadata={**metadata, **checks})
    found = prompt_of(example({**row, **named}))
    return None if found is None else replace(found, source=named["source"], metadata={**metadata, **found.metadata})


def _reference(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError("a reference is a text or a number")


def _checked(messages: Sequence[Any]) -> list[dict[str, Any]]:
    if not any(m["role"] == "user" and isinstance(m["content"], str) for m in messages):
        raise ValueError("no turn of a user")
    return [dict(m) for m in messages]


def read_answers(run_dir: Path | str) -> list[Answer]:
    """The answers that a run keeps; of those to one prompt by one model only the last."""
    kept: dict[tuple[str, str], Answer] = {}
    for row in answer_rows(Path(run_dir) / FILE):
        kept[row.id, row.model] = row
    return list(kept.values())


def answer_rows(path: Path) -> Iterator[Answer]:
    """Every answer in a file; a last line that was cut off is passed over."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                yield Answer(**json.loads(line))
            except (ValueError, TypeError):
                continue


class AnswerBook:
    """The answers of one run, and those of its neighbours that equal weights gave."""

    def __init__(self, run_dir: Path, neighbours: Sequence[Path] = ()) -> None:
        """Read what is there.

        Args:
            run_dir: the run whose file is added to.
            neighbours: folders of other runs, which are only read.
        """
        self._path = run_dir / FILE
        self._given: dict[tuple[str, str, str], Answer] = {}
        for folder in (*neighbours, run_dir):
            for row in answer_rows(folder / FILE):
                self._given[_key(row.weights, row.settings, row.prompt)] = row
        self._written = {(a.id, a.model): a for a in read_answers(run_dir)}

    def found(self, prompt: Prompt, model: str, weights: str, settings: str) -> Answer | None:
        """The answer, also if these weights gave it under another name; it is then this model's too."""
        known = self._given.get(_key(weights, settings, prompt.messages))
        if known is None:
            return None
        mine = Answer(**{**asdict(known), **_told(prompt, model)})
        if self._written.get((prompt.id, model)) != mine:
            self.add([mine])
        return mine

    def add(self, answers: Sequence[Answer]) -> None:
        """Append answers; one write each, so that a reader never sees half of an earlier one."""
        with self._path.open("a+b", buffering=0) as file:
            if file.seek(0, 2) and (file.seek(-1, 2), file.read(1))[1] != b"\n":  # a process died within a line
                file.write(b"\n")
            for answer in answers:
                file.write(json.dumps(asdict(answer), ensure_ascii=False).encode("utf-8", "replace") + b"\n")
                self._given[_key(answer.weights, answer.settings, answer.prompt)] = answer
                self._written[answer.id, answer.model] = answer


def written_down(prompt: Prompt, model: str, weights: str, settings: str, written: Mapping[str, Any]) -> Answer:
    """The row of an answer; `written` has answer, finish_reason and tokens."""
    return Answer(**_told(prompt, model), weights=weights, settings=settings, **written)


def _told(prompt: Prompt, model: str) -> dict[str, Any]:
    return {
        "id": prompt.id,
        "source": prompt.source,
        "prompt": [dict(m) for m in prompt.messages],
        "reference": prompt.reference,
        "model": model,
    }


def _key(weights: str, settings: str, messages: Sequence[Mapping[str, Any]]) -> tuple[str, str, str]:
    return weights, settings, prompt_hash(messages)


def prompt_hash(messages: Sequence[Mapping[str, Any]]) -> str:
    """12 hex digits that change with the messages."""
    text = json.dumps([dict(m) for m in messages], ensure_ascii=True, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def replace_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Replace a JSONL file; a reader sees the old rows or the new ones."""
    draft = path.with_name(f".{path.name}")
    draft.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    draft.replace(path)

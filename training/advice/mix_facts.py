"""A mix in numbers before it is trained on: rows, tokens, how long samples are, how many would be cut.

Samples are rendered with the base model's chat template and counted with its own tokenizer, without loading
transformers; of a large mix a part of the rows, evenly spread. Where the model has no tokenizer here, tokens are
guessed from characters, and `exact` is false.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.advice.base_facts import BaseFacts
from training.data.encoding import rejected_side
from training.data.mix_folder import Example, MixFolder, example
from training.data.packing import efficiency
from training.data.turns import PLAIN_TEMPLATE

READ = 2_000
"""Rows whose tokens are counted."""
DOCUMENTS = "text"
"""Format of mixes whose samples are never cut, but go on in the next row."""
TURN_TOKENS = 5
"""Of the template per message, where it can't be rendered here."""
_MARKS = re.compile(r"\{%-?\s*(end)?generation\s*-?%\}")


@dataclass(frozen=True, slots=True)
class MixFacts:
    """A mix in numbers."""

    format: str
    rows: int
    held_out: int
    """Rows of eval.jsonl."""
    lengths: tuple[int, ...]
    """Tokens of the rows that were read, template included; of pairs the longer side."""
    tokens: int
    """Of all rows once through, before cutting; both sides of pairs."""
    exact: bool
    """Whether every row was counted with the model's own tokenizer and template."""
    how: str
    """What was counted, with what."""
    sources: dict[str, int]
    """Source -> rows among those that were read."""
    fell_out: int = 0
    """Rows among those read that are no rows of a known format."""

    def quantile(self, share: float) -> int:
        """Tokens that this share of the samples does not exceed."""
        ordered = sorted(self.lengths)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0

    def cut(self, max_length: int) -> float:
        """Share of the samples of which max_length leaves something out; documents go on in the next row."""
        if self.format == DOCUMENTS:
            return 0.0
        return sum(n > max_length for n in self.lengths) / len(self.lengths) if self.lengths else 0.0

    def histogram(self, bins: int = 24) -> list[tuple[int, int, int]]:
        """(from, to, samples), the last bin holding all beyond the 99.5th percentile; scaled to all rows."""
        if not self.lengths:
            return []
        top = max(self.quantile(0.995), 1)
        width = max(1, -(-top // bins))
        counted = Counter(min((n - 1) // width, bins - 1) for n in self.lengths)
        scale = self.rows / len(self.lengths)
        last = max(counted)
        return [(i * width, (i + 1) * width, round(counted[i] * scale)) for i in range(last + 1)]

    def sequences(self, max_length: int, packing: str) -> tuple[int, float]:
        """Sequences in one pass, and the share of their places that hold a token."""
        found = efficiency(self._rows(max_length), max_length, packing)
        return max(1, round(found.rows * self.rows / max(1, len(self.lengths)))), found.fill

    def trained_tokens(self, max_length: int) -> int:
        """Tokens of one pass after cutting."""
        kept = sum(min(n, max_length) for n in self._rows(max_length)) / max(1, sum(self.lengths))
        return round(self.tokens * kept)

    def _rows(self, max_length: int) -> Sequence[int]:
        """Lengths of the rows that the samples become: a document longer than max_length becomes several."""
        if self.format != DOCUMENTS:
            return self.lengths
        return [min(max_length, n - start) for n in self.lengths for start in range(0, n, max_length)]


def mix_facts(folder: Path | str, facts: BaseFacts, *, read: int = READ) -> MixFacts:
    """Read a mix, and count the tokens of at most `read` of its rows.

    Raises:
        WinnowError: there is no training file, it is empty, or its columns are of no known format.
    """
    mix = MixFolder(Path(folder))
    written_as = mix.format
    counter = _Counter(facts.folder)
    rows, picked = _picked(mix.path / "train.jsonl", read)
    lengths, total, sources, odd = [], 0, Counter[str](), 0
    for number, line in picked:
        try:
            found = example(json.loads(line), default_id=f"train.jsonl:{number}")
            sides = [counter.tokens(side) for side in _sides(found)]
        except (KeyError, TypeError, AttributeError, ValueError):
            odd += 1
            continue
        lengths.append(max(sides))
        total += sum(sides)
        sources[found.source] += 1
    held_out = _rows_in(mix.path / "eval.jsonl") if mix.has("eval") else 0
    part = "" if rows == len(picked) else f" of {len(picked):,} rows, evenly spread"
    tokens = round(total * rows / max(1, len(lengths)))
    exact, how = counter.exact and not part, counter.how + part
    return MixFacts(written_as, rows, held_out, tuple(lengths), tokens, exact, how, dict(sources), odd)


def _sides(found: Example) -> list[Example]:
    return [found] if found.rejected is None else [found, rejected_side(found)]


def _rows_in(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())


def _picked(path: Path, most: int) -> tuple[int, list[tuple[int, bytes]]]:
    """How many rows there are, and at most `most` of them with their line numbers."""
    rows = _rows_in(path)
    every = max(1, -(-rows // most))
    with path.open("rb") as file:
        lines = (line for line in file if line.strip())
        return rows, [(i + 1, line) for i, line in enumerate(lines) if i % every == 0]


class _Counter:
    """Counts tokens as training would, or as near as the files of the base model allow."""

    def __init__(self, folder: Path | None) -> None:
        self._tokenizer: Any = None
        self._render: Callable[[Sequence[dict[str, Any]], Any], str | None] | None = None
        self._end: int | None = None
        self._unrendered = 0
        if folder is not None and (folder / "tokenizer.json").is_file():
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._render = _renderer(folder)
            self._end = self._tokenizer.token_to_id(_content(_config(folder).get("eos_token")))

    @property
    def exact(self) -> bool:
        """Whether all that was counted so far was counted as training does."""
        return self._tokenizer is not None and not self._unrendered

    @property
    def how(self) -> str:
        """What was counted so far, with what."""
        if self._tokenizer is None:
            return "guessed from the characters, for the model's tokenizer is not on this machine"
        if self._unrendered:
            told = f"the chat template refuses {self._unrendered:,} texts: {TURN_TOKENS} tokens a turn are added there"
            return f"tokens by the model's own tokenizer; {told}"
        return "tokens by the model's own tokenizer and chat template"

    def tokens(self, found: Example) -> int:
        """Tokens of a sample; of a document its end token too."""
        if found.text is None:
            return self._of_turns(list(found.messages), list(found.tools) if found.tools else None)
        if self._tokenizer is None:
            return _guessed([{"content": found.text}])
        ids = self._tokenizer.encode(found.text).ids
        return len(ids) + (self._end is not None and ids[-1:] != [self._end])

    def _of_turns(self, messages: Sequence[dict[str, Any]], tools: Any) -> int:
        if self._tokenizer is None:
            return _guessed(messages)
        text = self._render(messages, tools) if self._render is not None else None
        if text is not None:
            return self._count(text)
        self._unrendered += 1
        return sum(self._count(str(m.get("content") or "")) + TURN_TOKENS for m in messages)

    def _count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)


def _renderer(folder: Path) -> Callable[[Sequence[dict[str, Any]], Any], str | None] | None:
    """The chat template as transformers renders it; its marks of what the assistant says make no text."""
    from jinja2 import TemplateError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    told = _config(folder)
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = lambda value, indent=None, **_: json.dumps(value, ensure_ascii=False, indent=indent)
    try:
        template = environment.from_string(_MARKS.sub("", _template(folder, told) or PLAIN_TEMPLATE))
    except TemplateError:
        return None
    special = {name: _content(told.get(name)) for name in ("bos_token", "eos_token", "pad_token")}

    def render(messages: Sequence[dict[str, Any]], tools: Any) -> str | None:
        try:
            return template.render(messages=messages, tools=tools, add_generation_prompt=False, **special)
        except (TemplateError, TypeError, ValueError):
            return None

    return render


def _config(folder: Path) -> dict[str, Any]:
    try:
        told = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _template(folder: Path, told: dict[str, Any]) -> str | None:
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    template = told.get("chat_template")
    if isinstance(template, list):
        template = next((one.get("template") for one in template if one.get("name") == "default"), None)
    return template if isinstance(template, str) else None


def _content(token: Any) -> str:
    return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")


def _guessed(messages: Sequence[dict[str, Any]]) -> int:
    """About four Latin letters make a token, and one and a half signs of other scripts."""
    text = "".join(str(m.get("content") or "") for m in messages)
    latin = sum(char.isascii() for char in text)
    return round(latin / 4 + (len(text) - latin) / 1.5) + TURN_TOKENS * len(messages)

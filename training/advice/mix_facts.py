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
TURN_TOKENS = 5
"""Of the template per message, where it can't be rendered here."""
_MARKS = re.compile(r"\{%-?\s*(end)?generation\s*-?%\}")

Count = Callable[[Sequence[dict[str, Any]], Any], int]
"""Messages and tools -> tokens."""


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
        """Share of the samples that are longer than max_length."""
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
        found = efficiency(self.lengths, max_length, packing)
        return max(1, round(found.rows * self.rows / max(1, len(self.lengths)))), found.fill

    def trained_tokens(self, max_length: int) -> int:
        """Tokens of one pass after cutting."""
        kept = sum(min(n, max_length) for n in self.lengths) / max(1, sum(self.lengths))
        return round(self.tokens * kept)


def mix_facts(folder: Path | str, facts: BaseFacts, *, read: int = READ) -> MixFacts:
    """Read a mix, and count the tokens of at most `read` of its rows.

    Raises:
        WinnowError: there is no training file, it is empty, or its columns are of no known format.
    """
    mix = MixFolder(Path(folder))
    written_as = mix.format
    count, exact, how = _counter(facts.folder)
    rows, picked = _picked(mix.path / "train.jsonl", read)
    lengths, total, sources, odd = [], 0, Counter[str](), 0
    for number, line in picked:
        try:
            found = example(json.loads(line), default_id=f"train.jsonl:{number}")
            sides = [_tokens(side, count) for side in _sides(found)]
        except (KeyError, TypeError, AttributeError, ValueError):
            odd += 1
            continue
        lengths.append(max(sides))
        total += sum(sides)
        sources[found.source] += 1
    held_out = sum(1 for _ in (mix.path / "eval.jsonl").open("rb")) if mix.has("eval") else 0
    part = "" if rows == len(picked) else f" of {len(picked):,} rows, evenly spread"
    tokens = round(total * rows / max(1, len(lengths)))
    return MixFacts(
        written_as, rows, held_out, tuple(lengths), tokens, exact and not part, how + part, dict(sources), odd
    )


def _sides(found: Example) -> list[Example]:
    return [found] if found.rejected is None else [found, rejected_side(found)]


def _tokens(found: Example, count: Count) -> int:
    if found.text is not None:
        return count([{"role": "", "content": found.text}], None)
    return count(list(found.messages), list(found.tools) if found.tools else None)


def _picked(path: Path, most: int) -> tuple[int, list[tuple[int, bytes]]]:
    """How many rows there are, and at most `most` of them with their line numbers."""
    with path.open("rb") as file:
        rows = sum(1 for line in file if line.strip())
    every = max(1, -(-rows // most))
    with path.open("rb") as file:
        lines = (line for line in file if line.strip())
        return rows, [(i + 1, line) for i, line in enumerate(lines) if i % every == 0]


def _counter(folder: Path | None) -> tuple[Count, bool, str]:
    if folder is None or not (folder / "tokenizer.json").is_file():
        return _guessed, False, "guessed from the characters, for the model's tokenizer is not on this machine"
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    render = _renderer(folder)
    usable = [render is not None]

    def count(messages: Sequence[dict[str, Any]], tools: Any) -> int:
        if messages and messages[0]["role"] == "":
            return len(tokenizer.encode(messages[0]["content"]).ids)
        text = render(messages, tools) if render is not None else None
        if text is None:
            usable[0] = False
            texts = [str(m.get("content") or "") for m in messages]
            return sum(len(tokenizer.encode(t, add_special_tokens=False).ids) + TURN_TOKENS for t in texts)
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    return count, usable[0], "tokens by the model's own tokenizer and chat template"


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


def _guessed(messages: Sequence[dict[str, Any]], tools: Any) -> int:
    """About four Latin letters make a token, and one and a half signs of other scripts."""
    text = "".join(str(m.get("content") or "") for m in messages)
    latin = sum(char.isascii() for char in text)
    return round(latin / 4 + (len(text) - latin) / 1.5) + TURN_TOKENS * len(messages)

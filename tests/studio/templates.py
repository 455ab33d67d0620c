"""The texts that are made below the pages, found in the code as templates: `f"No embedding {name!r}."` is
`No embedding {0}.`, as `studio.languages.told` looks for them.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("curation", "synthesis", "training", "studio")
MOST = 4
"""Forms of one text that are told apart; beyond that its parts are looked up one by one."""
LETTERS = re.compile(r"[A-Za-z]{2,}")
Parts = tuple[str | None, ...]
"""A text in parts: words, or null for a value."""


class Texts:
    """What the expressions of a file say."""

    def __init__(self, tree: ast.AST) -> None:
        """Note who is assigned what, function by function."""
        self.inside: dict[ast.AST, ast.AST] = {}
        self.assigned: dict[tuple[ast.AST | None, str], list[ast.expr]] = {}
        self.fragments: set[str] = set()
        self.saying: list[ast.Call | ast.Return] = []
        """What may hold a text that is told: calls, and what a function returns."""
        self._walk(tree, None)

    def _walk(self, node: ast.AST, function: ast.AST | None) -> None:
        for child in ast.iter_child_nodes(node):
            if function is not None:
                self.inside[child] = function
            if isinstance(child, ast.Call | ast.Return):
                self.saying.append(child)
            for name, value in _assignments(child):
                self.assigned.setdefault((function, name), []).append(value)
            self._walk(child, child if isinstance(child, ast.FunctionDef | ast.Lambda) else function)

    def of(self, node: ast.expr) -> list[str]:
        """The templates of an expression, one for each form it can take; none where it holds no words of its own."""
        forms = [form for form in self._forms(node) if LETTERS.search("".join(part or "" for part in form))]
        return [written(form) for form in forms]

    def _forms(self, node: ast.expr, depth: int = 0) -> list[Parts]:
        if isinstance(node, ast.Constant):
            return [(node.value,)] if isinstance(node.value, str) else [(None,)]
        if isinstance(node, ast.JoinedStr):
            parts = [self._hole(v, depth) if isinstance(v, ast.FormattedValue) else self._forms(v) for v in node.values]
            return self._product(parts)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and not _counts(node):
            return self._product([self._forms(node.left, depth), self._forms(node.right, depth)])
        if isinstance(node, ast.IfExp):
            return [*self._forms(node.body, depth), *self._forms(node.orelse, depth)]
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
            return [form for value in node.values for form in self._forms(value, depth)]
        if isinstance(node, ast.Name) and depth < 3:
            found = self.assigned.get((self.inside.get(node), node.id)) or self.assigned.get((None, node.id), [])
            forms = [form for value in found for form in self._forms(value, depth + 1)]
            worded = [form for form in forms if any(part and LETTERS.search(part) for part in form)]
            return [*worded, *([(None,)] if len(worded) < len(forms) and not _blank(forms) else [])] or [(None,)]
        return [(None,)]

    def _hole(self, node: ast.FormattedValue, depth: int) -> list[Parts]:
        if node.format_spec is not None or node.conversion != -1:
            return [(None,)]
        forms = self._forms(node.value, depth)
        if isinstance(node.value, ast.Name) and depth < 3 and _blank(self._all(node.value, depth)):
            forms = [*forms, ("",)]
        return forms

    def _all(self, node: ast.Name, depth: int) -> list[Parts]:
        found = self.assigned.get((self.inside.get(node), node.id), [])
        return [form for value in found for form in self._forms(value, max(2, depth + 1))]

    def _product(self, parts: list[list[Parts]]) -> list[Parts]:
        count = 1
        for forms in parts:
            count *= len(forms)
        if count > MOST:
            for forms in parts:
                if len(forms) > 1:
                    self.fragments |= {written(f) for f in forms if LETTERS.search("".join(p or "" for p in f))}
            parts = [forms if len(forms) == 1 else [(None,)] for forms in parts]
        return [tuple(itertools.chain(*chosen)) for chosen in itertools.product(*parts)]


def _assignments(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node, ast.AnnAssign | ast.NamedExpr) and isinstance(node.target, ast.Name) and node.value:
        yield node.target.id, node.value
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name):
                yield target.id, node.value
            elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                for one, value in zip(target.elts, node.value.elts, strict=False):
                    if isinstance(one, ast.Name):
                        yield one.id, value


def _counts(node: ast.BinOp) -> bool:
    return any(isinstance(n, ast.Constant) and not isinstance(n.value, str) for n in (node.left, node.right))


def _blank(forms: Iterable[Parts]) -> bool:
    return any("".join(part or "{}" for part in form) == "" for form in forms)


def written(parts: Parts) -> str:
    """The template: words as they are, values numbered, braces doubled."""
    told, number = "", 0
    for part in parts:
        if part is None:
            told, number = f"{told}{{{number}}}", number + 1
        else:
            told += part.replace("{", "{{").replace("}", "}}")
    return re.sub(r"\s*\n\s*", " ", told).strip("\n")


# -------------------------------------------------------------------- where they stand


def _files(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


@cache
def _parsed(path: Path, words: str = "") -> tuple[ast.Module, Texts] | None:
    """A file's tree and texts; null where it has none of these words."""
    if words:
        return _parsed(path) if re.search(words, path.read_text(encoding="utf-8")) else None
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return tree, Texts(tree)


def _told(words: str, lines: Callable[[ast.AST], list[ast.expr]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in _files(*(f"{room}/**/*.py" for room in ROOMS)):
        if (parsed := _parsed(path, words)) is None:
            continue
        for node in parsed[1].saying:
            for said in lines(node):
                for text in parsed[1].of(said):
                    found.setdefault(text, _named(path))
        for text in parsed[1].fragments:
            found.setdefault(text, _named(path))
    return found


@cache
def errors() -> dict[str, str]:
    """Template of a line of a WinnowError, or of a validator's complaint -> file that has it."""
    return _told(r"\bfix=|ValueError\(|Concern\(", _lines)


@cache
def progress() -> dict[str, str]:
    """Template of what a job says on its way -> file that has it."""
    return _told(r"\bprogress\(", _progress)


def _progress(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Call) and _name(node) == "progress" and len(node.args) == 3:
        return [node.args[2]]
    return []


def _lines(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) and len(node.value.elts) == 2:
        message, fix = node.value.elts
        # A message and its fix, which the caller raises.
        worded = all(isinstance(line, ast.JoinedStr | ast.Constant) for line in (message, fix))
        return [message, fix] if worded and re.match(r"f?['\"][A-Z][a-z]* [\w{]", ast.unparse(message)) else []
    if not isinstance(node, ast.Call) or not node.args:
        return []
    name = _name(node)
    fixes = [word.value for word in node.keywords if word.arg == "fix"]
    if fixes and len(node.args) <= 2 and name not in ("t", "tn"):
        return [*node.args[:2], *fixes]
    if name == "Concern":
        return node.args[1:3]
    return [node.args[0]] if name == "ValueError" else []


def _name(node: ast.Call) -> str:
    return str(getattr(node.func, "attr", getattr(node.func, "id", "")))


def _named(path: Path) -> str:
    return str(path.relative_to(ROOT))


VERDICTS = (
    *("training/advice/*.py", "training/comparing_runs.py", "training/evaluation.py", "training/answering.py"),
    *("training/judging/*.py", "training/mix_search/*.py", "training/iterating/*.py", "training/runs/best.py"),
    *("training/runs/measured.py", "training/runs/pace.py", "training/runs/preference_signs.py"),
    *("training/data/*.py", "training/training.py", "training/exporting/*.py"),
    "synthesis/*.py",
    *("curation/selectors/*.py", "curation/scorers/*.py", "curation/subsets/*.py", "curation/texts/*.py"),
    *("curation/mixing.py", "curation/mix_parts.py", "curation/selection.py", "curation/scoring.py"),
    *("curation/comparing.py", "curation/size_matched.py", "curation/watching.py", "curation/ingestion.py"),
    *(
        "training/config.py",
        "training/rates.py",
        "training/rewards/*.py",
        "training/methods/*.py",
        "training/worker.py",
    ),
    *("training/runs/failures.py", "curation/names.py", "curation/lineage.py", "curation/searching.py"),
    *("curation/language_models/*.py", "studio/commands/mix_searching.py"),
)
"""Modules whose reports, reasons and verdicts pages show as they are."""
BESIDE_PROMPTS = (
    "synthesis/",
    "curation/",
    "training/exporting/",
    "training/advice/compute.py",
    "training/judging/claims.py",
)
"""Modules where reasons stand among prompts, cards and sources: a translation is taken, but not demanded."""
MADE_OTHERWISE = (
    "{0}, {1}, {2} parameters: {3}",
    "dropped: {0}",
    "the answer names no final answer; expected: {0}",
    "low (below {0})",
    "middle ({0} to {1})",
    "high ({0} or more)",
    "no longer dropped: {0}",
    "left before: {0}",
    "covered: at distance {0} of a chosen sample; none is farther than {1}",
    "answer of {0} characters; the shortest chosen has {1}",
    "{0} reports no cost and no price is known for {1}",
    "{0} reports neither a cost nor the tokens of this answer",
    "Input should be {0}",
    "greater than or equal to {0}",
    "less than or equal to {0}",
    "greater than {0}",
    "less than {0}",
    "a valid number",
    "a valid integer",
    "a valid boolean",
    "a valid string",
    "Input should be a valid integer, unable to parse string as an integer",
    "Input should be a valid number, unable to parse string as a number",
    "Input should be a valid boolean, unable to interpret input",
    "{0}: {1}.",
    "step {0}",
    "epoch {0}",
    "{0} or {1}",
    "{0}, or {1}",
    "{0}: {1}",
    "{0} to {1}",
    "the answer has {0} words, fewer than {1}",
    "the answer has {0} words, more than {1}",
    "the instruction has {0} words, fewer than {1}",
    "the instruction has {0} words, more than {1}",
)
"""Texts that no expression above holds as they are told: filled by str.format, by pydantic, or from parts."""
NO_PROSE = re.compile(
    r"SELECT |coalesce\(|FROM |JOIN |WHERE |ORDER BY|NULL|NOT held_out|\b[A-Z]+ AS\b|<\w+>|\(\?|\\[a-z]|\|\w"
    r"|^\W*$|\|\| '|[{%]%|: ?0;|OFFLINE="
)
"""SQL, markup, regular expressions and names."""


@cache
def verdicts() -> dict[str, str]:
    """Template of a reason, a verdict or a warning of two words or more -> file that has it."""
    found = dict.fromkeys(MADE_OTHERWISE, "tests/studio/templates.py")
    for path in _files(*VERDICTS):
        parsed = _parsed(path)
        assert parsed is not None
        tree, texts = parsed
        passed = _passed(tree)
        for node in ast.walk(tree):
            if id(node) in passed or not isinstance(node, ast.Constant | ast.JoinedStr):
                continue
            if isinstance(node, ast.Constant) and not isinstance(node.value, str):
                continue
            for text in texts.of(node):
                words = len(re.findall(r"[A-Za-z]{2,}", text))
                if " " in text.strip() and words > 1 and len(text) < 400 and not NO_PROSE.search(text):
                    found.setdefault(text, _named(path))
    return {text: file for text, file in found.items() if text not in errors() and text not in progress()}


def demanded(text: str) -> bool:
    """Whether a text must have a translation."""
    if is_command(text):
        return False
    file = verdicts().get(text, "")
    return not file.startswith(BESIDE_PROMPTS)


def _passed(tree: ast.AST) -> set[int]:
    """What is no text of its own: docstrings, parts of another text, descriptions of fields, lines of errors."""
    passed: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            passed.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            passed |= {id(inner) for inner in ast.walk(node) if inner is not node}
        elif isinstance(node, ast.Call):
            if _name(node) in (
                "Field",
                "compile",
                "query",
                "execute",
                "sql",
                "strftime",
                "mark",
                "join",
                "option",
                "echo",
            ):
                passed |= {id(inner) for inner in ast.walk(node)}
            for line in _lines(node):
                passed |= {id(inner) for inner in ast.walk(line)}
    return passed


@cache
def operators() -> dict[str, str]:
    """Summary of an operator, or label or description of a field, or title of a training method -> its file."""
    from pydantic import BaseModel

    from curation.normalizers import NORMALIZERS
    from curation.scorers import SCORERS
    from curation.selectors import SELECTORS
    from synthesis.acceptance import Acceptance
    from synthesis.synthesizers import SYNTHESIZERS
    from training.config import TrainConfig
    from training.methods import METHODS

    found: dict[str, str] = {method.title: method.__module__ for method in METHODS}
    for operator in (*SCORERS, *SELECTORS, *NORMALIZERS, *SYNTHESIZERS):
        found.setdefault(operator.summary(), operator.__module__)
    models: tuple[type[BaseModel], ...] = (*SCORERS, *SELECTORS, *NORMALIZERS, *SYNTHESIZERS, Acceptance, TrainConfig)
    for model in models:
        for name, field in model.model_fields.items():
            found.setdefault(name.replace("_", " ").capitalize(), model.__module__)
            if field.description:
                found.setdefault(field.description, model.__module__)
    return {text: f"{module.replace('.', '/')}.py" for text, module in found.items()}


COMMAND = re.compile(r"(winnow|pip|make|git|--?[a-z])[^,;]*")


def is_command(text: str) -> bool:
    """Whether it is to be typed as it is."""
    return bool(COMMAND.fullmatch(text)) and not re.search(r" or | \(", text)

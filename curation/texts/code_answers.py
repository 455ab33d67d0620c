"""The program of an answer, and the tests that came with a sample: what `curation.texts.code_running` is given.

Covers: fenced blocks, answers that are code altogether, completions of a function whose beginning the instruction is;
tests as source, as a list of sources, and HumanEval's `check(candidate)`. Does not cover: languages other than Python,
programs that read standard input, notebooks.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TESTS = ("test", "tests", "test_list", "unit_tests", "test_code", "test_cases", "assertion", "asserts")
"""Metadata fields that hold tests, where none is named; the first that tests something counts."""
ENTRY_POINTS = ("entry_point", "function_name", "fn_name")

_FENCE = re.compile(
    r"^[ \t]*(?:```|~~~)[ \t]*([\w+#.-]*)[^\n]*\n(.*?)(?:^[ \t]*(?:```|~~~)|\Z)", re.DOTALL | re.MULTILINE
)
_PYTHON = ("", "python", "py", "python3", "py3", "python2", "code")


@dataclass(frozen=True, slots=True)
class Program:
    """Python source; or null, and why there is none."""

    source: str | None
    reason: str = ""


def program_of(instruction: str, response: str, entry_point: str | None = None) -> Program:
    """The program that an answer gives.

    Args:
        instruction: what it answers; where this is Python itself (an open function, say), it comes before the answer.
        response: the answer.
        entry_point: name that the tests use; the block that defines it counts.
    """
    blocks = _FENCE.findall(response)
    if not blocks:
        return _unfenced(instruction, response, entry_point)
    ours = [body for language, body in blocks if language.lower() in _PYTHON]
    if not ours:
        return Program(None, f"the code is {blocks[0][0]}, and only Python is run")
    whole = [body for body in ours if _read(body) is not None] or ours[:1]
    defining = [body for body in whole if entry_point and entry_point in _defined(body)]
    chosen = defining[-1] if defining else "\n\n".join(_without_usage(whole))
    if not defining and (completed := _completed(instruction, chosen, entry_point)):
        return Program(completed)
    return Program(_after(instruction, chosen))


def known_tests(metadata: Mapping[str, Any], field: str | None = None) -> list[str]:
    """The tests among the metadata: the named field (dots lead inwards), or the first of `TESTS` that tests something.

    A source that only sets something up belongs to the test after it. Text, comments, and functions that nobody calls
    are no tests.
    """
    for name in (field,) if field else TESTS:
        value: Any = metadata
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        sources = [value] if isinstance(value, str) else value
        if not isinstance(sources, list) or not all(isinstance(source, str) and _read(source) for source in sources):
            continue
        if tests := _with_setup(_called(sources, metadata)):
            return tests
    return []


def _with_setup(sources: list[str]) -> list[str]:
    """The sources that test something, each after those before it that don't."""
    tests, setup = [], ""
    for source in sources:
        if _is_test(source):
            tests.append(setup + source)
            setup = ""
        else:
            setup += f"{source}\n"
    return tests


def _is_test(source: str) -> bool:
    """Whether running it can fail: an assert or a call outside of functions, or what the box runs by its name."""
    tree = _read(source)
    for node in tree.body if tree else []:
        if isinstance(node, ast.FunctionDef):
            found = node.name.startswith("test_") and not node.args.args and not node.args.posonlyargs
        elif isinstance(node, ast.ClassDef):
            of_unittest = any(ast.unparse(base).endswith("TestCase") for base in node.bases)
            functions = (inner for inner in node.body if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef))
            found = of_unittest and any(inner.name.startswith("test") for inner in functions)
        else:
            found = any(isinstance(inner, ast.Assert | ast.Call) for inner in ast.walk(node))
        if found and not isinstance(node, ast.AsyncFunctionDef):
            return True
    return False


def entry_point_of(metadata: Mapping[str, Any]) -> str | None:
    """The name that the tests use, where the metadata has it."""
    found = (metadata.get(name) for name in ENTRY_POINTS)
    return next((name for name in found if isinstance(name, str) and name.isidentifier()), None)


def _called(sources: list[str], metadata: Mapping[str, Any]) -> list[str]:
    """The tests, with the call that HumanEval leaves to whoever runs them."""
    name = entry_point_of(metadata)
    last = sources[-1] if sources else ""
    if last and "check" in _defined(last) and not re.search(r"(?m)^check\(", last):
        return [*sources[:-1], f"{last}\n\ncheck({name})"] if name else []
    return sources


def _without_usage(blocks: list[str]) -> list[str]:
    """The blocks, without those after a definition that define nothing and call something: they show how to use it."""
    kept: list[str] = []
    defines = False
    for block in blocks:
        tree = _read(block)
        nodes = tree.body if tree else []
        is_definition = any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in nodes)
        calls = any(isinstance(inner, ast.Call) for node in nodes for inner in ast.walk(node))
        if is_definition or not (defines and calls):
            kept.append(block)
        defines |= is_definition
    return kept


def _unfenced(instruction: str, response: str, entry_point: str | None) -> Program:
    tree = _read(response)
    stands_alone = tree is not None and any(not isinstance(node, ast.Expr | ast.Return) for node in tree.body)
    if stands_alone and (entry_point is None or entry_point in _defined(response)):
        return Program(_after(instruction, response))
    if completed := _completed(instruction, response, entry_point):
        return Program(completed)
    return Program(_after(instruction, response)) if stands_alone else Program(None, "the answer holds no Python code")


def _completed(instruction: str, body: str, entry_point: str | None) -> str | None:
    """The instruction, an open function, with the answer as the rest of its body; null where they do not fit."""
    if not re.search(r"(?m)^\s*(?:async\s+)?def\s", instruction):
        return None
    body = body.strip("\n")
    for rest in (body, f"    {body}", "\n".join(f"    {line}" for line in body.split("\n"))):
        source = f"{instruction.rstrip()}\n{rest}\n"
        if _read(source) is not None and (entry_point is None or entry_point in _defined(source)):
            return source
    return None


def _after(instruction: str, code: str) -> str:
    """The code, after the imports and functions of an instruction that is Python."""
    tree = _read(instruction)
    if tree is None or not any(isinstance(n, ast.Import | ast.ImportFrom | ast.FunctionDef) for n in tree.body):
        return code
    future = [
        node for node in (_read(code) or tree).body if isinstance(node, ast.ImportFrom) and node.module == "__future__"
    ]
    return code if future else f"{instruction.rstrip()}\n\n\n{code}"


def _defined(source: str) -> set[str]:
    tree = _read(source)
    nodes = tree.body if tree else []
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    assigned = {t.id for n in nodes if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}
    return {node.name for node in nodes if isinstance(node, kinds)} | assigned


def _read(source: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
            compile(tree, "answer.py", "exec", dont_inherit=True)  # a `return` outside a function parses, but no more
            return tree
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None

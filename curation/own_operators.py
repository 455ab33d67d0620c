"""Operators of the user's own: one class in one Python file, named on the command line by the file's path."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from curation.errors import OperatorError
from curation.operators import AnyOperator, Operator, build


def build_any(
    kind: str,
    operators: Sequence[type[AnyOperator]],
    name: str,
    parameters: Mapping[str, Any] | None = None,
) -> AnyOperator:
    """An operator from its name, or from the path of a Python file (`.py`) that holds one; runs that file.

    Raises:
        OperatorError: as `operators.build`; or the file can't be run, or doesn't hold one operator of this kind.
    """
    if not name.endswith(".py"):
        return build(kind, operators, name, parameters)
    base = next(parent for parent in operators[0].__mro__ if inspect.isabstract(parent))
    own: type[AnyOperator] = _class_in(Path(name), base, kind)
    return build(kind, [own], own.name, parameters)


def code_digest(operator: Operator) -> list[str]:
    """Hash of the code that an operator of the user's own was made from: other code, other numbers."""
    if type(operator) in _DIGESTS:
        return [_DIGESTS[type(operator)]]
    module = type(operator).__module__
    path = inspect.getsourcefile(type(operator)) if module.partition(".")[0] not in ROOMS else None
    return [hashlib.sha256(Path(path).read_bytes()).hexdigest()] if path and Path(path).is_file() else []


ROOMS = ("curation", "synthesis", "training", "studio")
_DIGESTS: WeakKeyDictionary[type, str] = WeakKeyDictionary()
"""Class from a file of the user's own -> hash of the code that was run, which the file may no longer hold."""


_RUN = "__code_digest__"
"""Attribute of a module that was run from the user's file: hash of that code."""


def _class_in(path: Path, base: type, kind: str) -> Any:
    if not path.is_file():
        raise OperatorError(f"There is no file {path}.", fix=f"give the path of a file with one {kind}")
    if "." in path.stem:
        raise OperatorError(
            f"{path}: a dot in the name parts modules.", fix=f"call it {path.stem.replace('.', '_')}.py"
        )
    # On the path and under its own name, so that worker processes can import it too.
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    if path.stem in sys.modules and getattr(sys.modules[path.stem], "__file__", None) != str(path.resolve()):
        raise OperatorError(f"{path}: a module {path.stem!r} exists already.", fix="give the file another name")
    module, digest = _module_of(path.resolve())
    found = [c for c in vars(module).values() if _is_own(c, base, module.__name__)]
    if len(found) != 1:
        names = ", ".join(c.__name__ for c in found) or "none"
        raise OperatorError(
            f"{path} holds {len(found)} classes that are a {kind} with a name ({names}).", fix="keep one in the file"
        )
    _DIGESTS[found[0]] = digest
    return found[0]


def _module_of(path: Path) -> tuple[ModuleType, str]:
    """The module that the file holds now, and the hash of its code; run anew where the file was edited since."""
    code = path.read_bytes()
    digest = hashlib.sha256(code).hexdigest()
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, _RUN, None) == digest:
        return known, digest
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        # Not by import: bytecode is kept by the second and the size of the file, and an edit may change neither.
        exec(compile(code, str(path), "exec"), vars(module))
    except Exception as error:
        del sys.modules[path.stem]
        raise OperatorError(f"{path} can't be run: {type(error).__name__}: {error}", fix="mend the file") from None
    setattr(module, _RUN, digest)
    return module, digest


def _is_own(value: Any, base: type, module: str) -> bool:
    return inspect.isclass(value) and issubclass(value, base) and value.__module__ == module and hasattr(value, "name")

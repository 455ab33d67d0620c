"""Files every translation in the catalogue named after the page that asks for its text, sorted."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from babel.messages.pofile import read_po

from studio.languages import HERE, LANGUAGES, catalogue
from tests.studio.catalogues import Asked, asked

COMMON = "common"
"""What two or more modules ask for."""
HEAD = 'msgid ""\nmsgstr ""\n"Language: {}\\n"\n"Content-Type: text/plain; charset=utf-8\\n"\n{}'
PLURALS = {"zh": '"Plural-Forms: nplurals=1; plural=0;\\n"\n'}


def file_all() -> None:
    """Sort the catalogues of every language but English; nothing is lost, what nobody asks for is said."""
    for code in LANGUAGES:
        if code != "en":
            _file(HERE / code, code)


def _file(folder: Path, code: str) -> None:
    said, files = _read(folder, code)
    sheets: dict[str, dict[str, tuple[str, ...] | str]] = defaultdict(dict)
    for key, told in said.items():
        who = asked().get(key)
        if who is None:
            print(f"nobody asks: {files[key]} {key!r}")  # noqa: T201
        sheets[place(key, who) if who else files[key].removesuffix(".po")][key] = told
    for path in folder.glob("*.po"):
        path.unlink()
    for name, sheet in sheets.items():
        (folder / f"{name}.po").write_text(_written(sheet, code), encoding="utf-8")
    catalogue.cache_clear()
    assert set(catalogue(code)) == set(said), "a translation was lost"


def _read(folder: Path, code: str) -> tuple[dict[str, tuple[str, ...] | str], dict[str, str]]:
    """Text -> translation (of plurals their forms), and text -> its file; the first of two, which are said."""
    said: dict[str, tuple[str, ...] | str] = {}
    files: dict[str, str] = {}
    for path in sorted(folder.glob("*.po"), key=lambda path: (path.stem != COMMON, path.stem)):
        with path.open("rb") as opened:
            for message in read_po(opened, locale=code):
                key = message.id if isinstance(message.id, str) else message.id[0]
                told = message.string
                if not key or not told:
                    continue
                if key in said and said[key] != told:
                    print(f"told twice: {key!r}: {said[key]!r} ({files[key]}), {told!r} ({path.name})")  # noqa: T201
                said.setdefault(key, told if isinstance(told, str) else tuple(told))
                files.setdefault(key, path.name)
    return said, files


def place(key: str, who: Asked) -> str:
    """The catalogue of a text, without its ending."""
    from tests.studio import templates

    if key in templates.operators():
        return "operators"
    if key in templates.errors():
        return "errors"
    if key in templates.progress():
        return "progress"
    if key in templates.verdicts():
        return "advice"
    if len(who.files) > 1:
        return COMMON
    path = Path(who.files[0])
    return path.stem if path.parts[1] == "pages" else COMMON


def _written(told: dict[str, tuple[str, ...] | str], code: str) -> str:
    parts = [HEAD.format(code, PLURALS.get(code, ""))]
    for key in sorted(told, key=lambda key: (key.casefold(), key)):
        one = asked().get(key)
        said = told[key]
        if isinstance(said, str) and not (one and one.plural):
            parts.append(f"msgid {_quoted(key)}\nmsgstr {_quoted(said)}\n")
        else:
            plural = one.plural if one and one.plural else key
            forms = (said,) if isinstance(said, str) else said
            lines = "".join(f"msgstr[{n}] {_quoted(form)}\n" for n, form in enumerate(forms))
            parts.append(f"msgid {_quoted(key)}\nmsgid_plural {_quoted(plural)}\n{lines}")
    return "\n".join(parts)


def _quoted(text: str) -> str:
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t"), ("\r", "\\r")):
        text = text.replace(plain, escaped)
    return f'"{text}"'

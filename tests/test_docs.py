"""Documentation that nothing checks drifts."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from curation.files.formats import FORMATS
from curation.language_models.encoders import open_encoder
from curation.normalizers import NORMALIZERS
from curation.scorers import SCORERS
from curation.selectors import SELECTORS
from studio.cli import winnow
from studio.commands.listing import operator_rows
from synthesis.synthesizers import SYNTHESIZERS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line.removeprefix("$ ") for line in README.splitlines() if line.startswith("$ winnow ")]


@pytest.mark.parametrize("name", sorted(winnow.commands))
def test_every_command_is_in_the_readme_and_has_help(name: str) -> None:
    assert f"winnow {name}" in README or f"`{name}`" in README
    assert winnow.commands[name].help


@pytest.mark.parametrize("name", [o.name for o in (*SCORERS, *SELECTORS, *NORMALIZERS, *SYNTHESIZERS)])
def test_every_operator_is_in_the_readme_and_in_the_paper_index(name: str) -> None:
    assert f"`{name}`" in README
    assert f"`{name}`" in (ROOT / "docs" / "paper_index.md").read_text()


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_in_the_readme(name: str) -> None:
    assert f"`{name}`" in README


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_line_of_the_readme_is_one_the_command_takes(line: str) -> None:
    import shlex

    words = shlex.split(line)[1:]
    command = winnow.commands[words[0]]
    with click.Context(command, info_name=words[0]) as context:
        command.parse_args(context, words[1:])


def test_the_first_steps_of_the_readme_print_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "studio").symlink_to(ROOT / "studio")
    shown = re.search(r"(\$ winnow ingest corpus.*?)\$ winnow warm-up", README, re.DOTALL)
    assert shown is not None
    import shlex

    steps = re.split(r"^\$ ", shown.group(1), flags=re.MULTILINE)[1:]
    for step in steps:
        line, _, output = step.partition("\n")
        command = [sys.executable, "-m", "studio.cli", *shlex.split(line)[1:]]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=_environment())
        assert done.stdout == output, line


def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    (tmp_path / "studio").symlink_to(ROOT / "studio")
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    done = subprocess.run(
        [sys.executable, "-c", code.group(1)], cwd=tmp_path, capture_output=True, text=True, env=_environment()
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("153\n")


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_the_map_of_the_readme_names_files_that_exist() -> None:
    tree = README.split("## The map")[1].split("```")[1]
    for word in re.findall(r"[\w/]+\.py\b", tree):
        assert list(ROOT.rglob(word)), word


def test_links_and_images_of_the_readme_exist() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_operator_parameter_is_described() -> None:
    for operator in (*SCORERS, *SELECTORS, *NORMALIZERS, *SYNTHESIZERS):
        assert all(field.description for field in operator.model_fields.values()), operator.name
    assert len(operator_rows()) == len(SCORERS) + len(SELECTORS) + len(NORMALIZERS) + len(SYNTHESIZERS)


def test_the_encoders_of_the_readme_exist() -> None:
    assert "`lexical`" in README
    with pytest.raises(Exception, match="Unknown encoder"):
        open_encoder("nonsense")


def test_decisions_are_short_and_say_how_to_notice_that_they_were_wrong() -> None:
    for path in (ROOT / "docs" / "adr").glob("*.md"):
        text = path.read_text()
        assert len(text.splitlines()) <= 45, path.name
        assert "wrong" in text, path.name

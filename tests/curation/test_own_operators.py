"""A scorer of the user's own is one short file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from curation.errors import OperatorError
from curation.own_operators import build_any, code_digest
from curation.scorers import SCORERS
from tests.curation.samples import corpus_of, pair

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "code_share.py"


def test_the_example_of_the_readme_is_the_file_and_has_under_40_lines() -> None:
    code = EXAMPLE.read_text()
    assert len(code.splitlines()) < 40
    assert code.split("\n\n\n", 1)[1] in (ROOT / "README.md").read_text()


def winnow(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "studio.cli", *words], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("engine", ["here", "processes"])
def test_the_example_measures_from_the_command_line(tmp_path: Path, engine: str) -> None:
    corpus = corpus_of(
        tmp_path / "c",
        [pair("q1", "a\n```\nx = 1\n```"), pair("q2", "no code"), pair("q3", "```\nopen"), pair("q4", "~~~\nx\n~~~")],
    )
    done = winnow("score", str(corpus.path), str(EXAMPLE), "--engine", engine, "--workers", "2")
    assert done.returncode == 0, done.stderr
    frame = corpus.frame(["instruction", "code_share", "code_blocks"], order="instruction")
    assert frame["code_share"].to_list() == [0.25, 0.0, None, 0.0]
    assert frame["code_blocks"].to_list() == [1, 0, 0, 0]
    again = winnow("score", str(corpus.path), str(EXAMPLE), "--engine", engine)
    assert "already   4" in again.stdout


def test_other_code_is_another_run(tmp_path: Path) -> None:
    scorer = build_any("scorer", SCORERS, str(EXAMPLE))
    assert len(code_digest(scorer)) == 1
    assert code_digest(build_any("scorer", SCORERS, "length")) == []


@pytest.mark.parametrize(
    "code, told",
    [
        ("x = 1", "holds 0 classes"),
        ("import no_such_module_at_all", "No module named"),
        ("def broken(:", "SyntaxError"),
    ],
)
def test_a_file_without_one_scorer_is_told_in_two_lines(tmp_path: Path, code: str, told: str) -> None:
    path = tmp_path / f"own_{abs(hash(code))}.py"
    path.write_text(code)
    with pytest.raises(OperatorError, match=told):
        build_any("scorer", SCORERS, str(path))


def test_a_file_that_is_not_there_is_told() -> None:
    with pytest.raises(OperatorError, match="There is no file"):
        build_any("scorer", SCORERS, "nowhere/mine.py")

"""A scorer of the user's own is one short file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from curation.errors import OperatorError
from curation.operators import Pool
from curation.own_operators import build_any, code_digest
from curation.scorers import SCORERS
from curation.selectors import SELECTORS
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


OWN = """
from curation.operators import Selection, Selector

class Mine(Selector):
    name = "mine"

    def select(self, pool, budget):
        return Selection(["{}"], {{}})
"""


def test_an_edited_file_runs_as_it_is_now_and_each_class_keeps_the_digest_of_its_own_code(tmp_path: Path) -> None:
    path = tmp_path / "edited_selector.py"
    path.write_text(OWN.format("a"))
    first = build_any("selector", SELECTORS, str(path))
    assert type(build_any("selector", SELECTORS, str(path))) is type(first)
    before = code_digest(first)
    path.write_text(OWN.format("b"))  # within the same second, of the same size
    second = build_any("selector", SELECTORS, str(path))
    frame = pl.DataFrame({"id": ["a", "b"]})
    assert [s.select(Pool(frame), 1).ids for s in (first, second)] == [["a"], ["b"]]
    assert code_digest(first) == before != code_digest(second)


def test_a_file_that_broke_when_it_was_edited_is_told_and_runs_again_when_mended(tmp_path: Path) -> None:
    path = tmp_path / "broken_selector.py"
    for code in (OWN.format("a"), "def broken(:", OWN.format("c")):
        path.write_text(code)
        if "broken" in code:
            with pytest.raises(OperatorError, match="SyntaxError"):
                build_any("selector", SELECTORS, str(path))
        else:
            assert build_any("selector", SELECTORS, str(path)).name == "mine"


def test_a_dot_in_a_files_name_is_refused_with_a_name_that_works(tmp_path: Path) -> None:
    path = tmp_path / "my.sel.py"
    path.write_text(OWN.format("a"))
    with pytest.raises(OperatorError, match="a dot in the name") as error:
        build_any("selector", SELECTORS, str(path))
    assert error.value.fix == "call it my_sel.py"

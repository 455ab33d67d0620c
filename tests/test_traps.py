"""Every known trap of the selection methods is a test of that number; the list is what re-implementations fall into."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TRAPS = {
    1: "IFD as a ratio of losses is not the ratio of perplexities",
    2: "the first token of an answer",
    3: "both passes see the same answer tokens",
    4: "empty and one-token answers, prompts that fill the window",
    5: "the bound of IFD, and what a share is a share of",
    6: "several turns: sum or mean",
    7: "DEITA's filter: similarity, strictly, to kept samples",
    8: "DEITA's scorers: padding, raw logits, single digits",
    9: "a judge's answer in all its forms",
    10: "InsTag's sampling ends, passes begin anew",
    11: "MIG: column normalisation, gain, norm, turns",
    12: "k-center: no NaN, copies last, more than there are points",
    13: "SemDeDup: chains, and which one is kept",
    14: "DSIR is length",
    15: "pooling masks padding",
    16: "Vendi: order, unit norm, dual form",
    17: "NovelSum: itself at rank 1, squared distances",
    18: "sparse facility location against the dense one",
    19: "every selector: equal ids, exact budget, nothing held out or contaminated, shares kept",
    20: "reports show random draws and the longest answers",
}
NAMES = [
    name
    for path in Path(__file__).parent.rglob("test_*.py")
    for name in re.findall(r"def test_trap_(\d+)_", path.read_text())
]


@pytest.mark.parametrize("number", TRAPS)
def test_every_trap_has_a_test_of_its_number(number: int) -> None:
    assert f"{number:02d}" in NAMES, TRAPS[number]

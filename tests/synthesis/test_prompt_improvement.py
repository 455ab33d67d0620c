"""A better wording of a prompt, found by trying."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from curation.errors import OperatorError
from curation.language_models.prices import Price, Prices
from studio.cli import winnow
from synthesis import EvolInstruct, improve_prompt
from synthesis.prompt_improvement import wording_in
from synthesis.prompting import built_in
from tests.synthesis.loopback import Loopback
from tests.synthesis.samples import SeededCorpus, asked

SEEDS = [asked(f"Explain rule number {n} of chess.", f"Rule {n} says so.") for n in range(20)]
EVOLVE = EvolInstruct(operations=("in_breadth",), judge_gain=False)
BETTER = "Invent a rarer question, CAREFULLY, beside this one: {{instruction}}"


def reply(body: Any, number: int) -> str:
    """Evolutions succeed where the prompt says CAREFULLY; the optimizer knows it the second time."""
    text = body["messages"][-1]["content"]
    if "#What Came of It#" in text:
        worse = "New Prompt:\n```\nInvent something: {{instruction}}\n```"
        return [worse, f"It is careless.\n\n**New Prompt:**\n```\n{BETTER}\n```", "新提示词：\n没有空位"][number % 3]
    if "CAREFULLY" in text:
        return f"A rarer question, number {number}: why?"
    if "Invent" in text or "You invent instructions" in text:
        return "The created instruction: what?"
    return "Chess books say so."


def test_the_wording_that_fails_least_is_written_and_used(tmp_path: Path) -> None:
    corpus = SeededCorpus(tmp_path, SEEDS)
    with Loopback(reply) as server:
        report = improve_prompt(corpus, EVOLVE, "in_breadth", server.spec, steps=2, batch=3, candidates=3, dev=8)
        sent = server.requests
        again = improve_prompt(corpus, EVOLVE, "in_breadth", server.spec, steps=2, batch=3, candidates=3, dev=8)
        assert "rejected by prompt-leak" in next(t for b in server.bodies if "#What Came" in (t := str(b["messages"])))
    assert (report.failure_before, report.failure_after, report.former) == (1.0, 0.0, None)
    assert (tmp_path / "prompts" / "in_breadth.md").read_text() == BETTER + "\n"
    assert [one.kept for one in report.tried if one.kept] == [True, True]
    assert "has other gaps" in next(one.problem for one in report.tried if one.problem) or ""
    assert EVOLVE.with_prompts(tmp_path / "prompts").fill("in_breadth", instruction="x").endswith("this one: x")
    assert (again.failure_before, again.written, server.requests - sent < sent) == (0.0, None, True)


def test_nothing_is_written_where_no_wording_fails_less_and_the_user_s_own_is_put_aside(tmp_path: Path) -> None:
    corpus = SeededCorpus(tmp_path, SEEDS)
    (tmp_path / "prompts").mkdir()
    mine = tmp_path / "prompts" / "in_breadth.md"
    mine.write_text("Invent, my way: {{instruction}}")
    fine = Loopback(lambda body, n: f"A question, number {n}?")
    with fine as server:
        report = improve_prompt(corpus, EVOLVE, "in_breadth", server.spec, steps=1, batch=2, candidates=2, dev=4)
    assert (report.failure_before, report.written, mine.read_text()) == (0.0, None, "Invent, my way: {{instruction}}")
    with Loopback(reply) as server:
        (tmp_path / "calls.sqlite").unlink()
        report = improve_prompt(corpus, EVOLVE, "in_breadth", server.spec, steps=1, batch=2, candidates=3, dev=4)
    assert (report.failure_before, report.failure_after) == (1.0, 0.0)
    assert Path(report.former or "").read_text() == "Invent, my way: {{instruction}}"


@pytest.mark.parametrize(
    ("said", "wording"),
    [
        ("It fails.\nNew Prompt:\n```md\nDo {{x}}.\n\nWell.\n```", "Do {{x}}.\n\nWell."),
        ("## New Prompt\nDo {{x}}.", "Do {{x}}."),
        ("分析……\n新的提示词：\n```\n做 {{x}}。\n```\n", "做 {{x}}。"),
        ("```\nDo {{x}}.\n```", "Do {{x}}."),
        ("Do {{x}}.", "Do {{x}}."),
    ],
)
def test_the_new_prompt_is_found_in_what_the_optimizer_writes(said: str, wording: str) -> None:
    assert wording_in(said) == wording


def test_a_prompt_that_the_synthesizer_lacks_is_told(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="Unknown prompt of evol-instruct 'in_bredth'"):
        improve_prompt(SeededCorpus(tmp_path, SEEDS), EVOLVE, "in_bredth", "http://127.0.0.1:9/v1#none")


def test_the_command_prints_each_wording(tmp_path: Path) -> None:
    SeededCorpus(tmp_path, SEEDS)
    with Loopback(reply) as server:
        options = ["--set", "operations=in_breadth", "--set", "judge_gain=false", "--dev", "4", "--batch", "2"]
        line = ["improve-prompt", str(tmp_path), "in_breadth", "--model", server.spec, *options, "--steps", "1"]
        shown = CliRunner().invoke(winnow, line)
        as_json = CliRunner().invoke(winnow, [*line, "--json"])
    assert shown.exit_code == as_json.exit_code == 0, shown.output
    assert "before   100%" in shown.output
    assert "in_breadth.md" in shown.output
    assert json.loads(as_json.stdout)["prompt"] == "in_breadth"
    assert built_in("in_breadth") not in shown.output


def test_a_budget_ends_the_search_and_what_was_found_is_kept(tmp_path: Path) -> None:
    corpus = SeededCorpus(tmp_path, SEEDS)
    Prices().having(Price("loopback", 1.0, 1.0)).write(tmp_path)
    cheap = EvolInstruct(operations=("in_breadth",), judge_gain=False, max_tokens=64)
    with Loopback(reply) as server:
        report = improve_prompt(corpus, cheap, "in_breadth", server.spec, dev=4, budget_usd=0.012)
    assert report.stopped is not None
    assert "US dollars are spent" in report.stopped
    assert report.spent_usd is not None
    assert report.spent_usd <= 0.012
    assert report.tried[0].kept


def test_a_budget_needs_a_price(tmp_path: Path) -> None:
    with Loopback(reply) as server, pytest.raises(OperatorError, match="No price is known"):
        improve_prompt(SeededCorpus(tmp_path, SEEDS), EVOLVE, "in_breadth", server.spec, budget_usd=1.0)

"""The demo corpus is what its README says: counts, clean rows that are right, and defects that are really there."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from pathlib import Path

import pytest

import studio

DEMO = Path(studio.__file__).parent / "demo"
FILES = ("instructions_en", "instructions_zh", "conversations", "maths", "code", "preferences")
TEXT_DEFECTS = {"near_duplicate", "truncated", "refusal", "wrong_language", "leaked", "personal_data", "mojibake"}
DEFECTS = TEXT_DEFECTS | {"wrong_sum"}
TEXT = ("instruction", "input", "output", "question", "answer", "prompt", "completion", "chosen", "rejected")
QUESTIONS = ("instruction", "prompt", "question")
ANSWERS = ("output", "answer", "completion", "chosen")
SIGNALS = {
    "near_duplicate": ("near-duplicate", "near_duplicate_cluster IS NOT NULL"),
    "truncated": ("heuristics", "truncated"),
    "refusal": ("heuristics", "refusal"),
    "wrong_language": ("language", "language_mismatch"),
    "leaked": ("contamination", "contaminated"),
    "personal_data": ("heuristics", "personal_data"),
    "mojibake": ("heuristics", "mojibake"),
    "wrong_sum": ("arithmetic", "arithmetic > 0"),
}
"""Defect -> the scorer that finds it, and the condition on its columns."""
CLEAN_FLAGGED = {"near_duplicate": 14}
"""Clean rows that a signal flags: the originals are in the clusters of their near duplicates. All others flag none."""
HAN = re.compile(r"[\u4e00-\u9fff]")
MOJIBAKE = re.compile(r"â€|Ã[\x80-\xbf]|[äåæçèé][\x80-\xbf\u0152-\u02dc\u2013-\u2122]{2}")
CLAIM = re.compile(r"([\d(][\d.() +\-×÷/*]*[+\-×÷/*][\d.() +\-×÷/*]*[\d)]) ?= ?(\d+(?:\.\d+)?(?:/\d+)?)")


def rows(name):
    return [json.loads(line) for line in (DEMO / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


CORPUS = [{**row, "file": name} for name in FILES for row in rows(name)]
CLEAN = [row for row in CORPUS if row["defect"] is None]
BENCHMARK = [row["question"] for row in rows("benchmark")]


def with_defect(name):
    return [row for row in CORPUS if row["defect"] == name]


def contents(row, role):
    return [turn["content"] for turn in row.get("messages", ()) if turn["role"] == role]


def question(row):
    return next((row[field] for field in QUESTIONS if field in row), None) or contents(row, "user")[0]


def answer(row):
    return next((row[field] for field in ANSWERS if field in row), None) or contents(row, "assistant")[-1]


def text(row):
    turns = [turn["content"] for turn in row.get("messages", ())]
    return "\n".join([row[field] for field in TEXT if field in row] + turns)


def prose(answer):
    return re.sub(r"```.*?(```|$)|`[^`]*`", "", answer, flags=re.DOTALL)


def python_blocks(row):
    return re.findall(r"```python\n(.*?)```", text(row), flags=re.DOTALL)


def false_claims(worked):
    """Statements `a op b = c` that don't hold. The pattern lets through digits, operators and brackets only."""
    plain = [claim.replace("×", "*").replace("÷", "/") for claim in map(" = ".join, CLAIM.findall(worked))]
    return [claim for claim in plain if abs(eval(claim.replace("=", "-"))) > 1e-9]


def words(text):
    return re.findall(r"[a-z0-9']+|[\u4e00-\u9fff]", text.lower())


def words_missing(question, text):
    matcher = difflib.SequenceMatcher(None, words(question), words(text), autojunk=False)
    return len(words(question)) - sum(block.size for block in matcher.get_matching_blocks())


def readme_counts():
    cells = re.findall(r"^\| `(\w+)(?:\.jsonl)?` \| (\d+) \|(?:.*\| (\d+) \|)?", (DEMO / "README.md").read_text(), re.M)
    return {name: (int(count), int(defective or 0)) for name, count, defective in cells}


def test_about_three_hundred_samples_in_two_languages():
    chinese = sum(bool(HAN.search(question(row))) for row in CORPUS)
    assert 290 <= len(CORPUS) <= 320
    assert 0.35 < chinese / len(CORPUS) < 0.45


def test_every_defect_is_known_and_there_six_times_at_least():
    counts = Counter(row["defect"] for row in CORPUS if row["defect"])
    assert set(counts) == DEFECTS
    assert min(counts.values()) >= 6


def test_the_readme_counts_what_is_in_the_files():
    by_file = Counter(row["file"] for row in CORPUS)
    defective = Counter(row["file"] for row in CORPUS if row["defect"])
    by_defect = Counter(row["defect"] for row in CORPUS if row["defect"])
    expected = {name: (by_file[name], defective[name]) for name in FILES}
    assert readme_counts() == expected | {name: (count, 0) for name, count in by_defect.items()}
    chinese = sum(bool(HAN.search(question(row))) for row in CORPUS)
    readme = (DEMO / "README.md").read_text(encoding="utf-8")
    assert f"{len(CORPUS)} samples" in readme
    assert f"English ({len(CORPUS) - chinese}) and Chinese ({chinese}," in readme
    assert f"{len(CLEAN)} of the samples" in readme
    assert f"{sum(by_defect.values())} carry a planted" in readme


def test_metadata_is_flat_and_complete():
    for row in CORPUS:
        assert row["topic"]
        assert row["quality"] in (1, 2, 3, 4, 5)
        assert all(isinstance(value, str | int | None) for field, value in row.items() if field != "messages")
        needs_original = row["defect"] in ("near_duplicate", "leaked", "wrong_sum")
        assert ("defect_of" in row) == needs_original


def test_no_text_is_there_twice():
    texts = [text(row) for row in CORPUS]
    questions = Counter(question(row) + row.get("input", "") for row in CORPUS)
    assert len(set(texts)) == len(texts)
    assert [q for q, count in questions.items() if count > 1] == []


def test_twelve_seed_samples_come_first():
    for name, count in (("instructions_en", 8), ("instructions_zh", 4)):
        assert [i for i, row in enumerate(rows(name)) if row.get("seed_sample") == 1] == list(range(count))
    assert sum("seed_sample" in row for row in CORPUS) == 12
    assert all(row["input"] == "" and row["defect"] is None for row in CORPUS if "seed_sample" in row)


def test_python_in_clean_rows_compiles():
    blocks = [block for row in CLEAN for block in python_blocks(row)]
    assert len(blocks) > 25
    for block in blocks:
        compile(block, "demo", "exec")


def test_arithmetic_in_clean_rows_holds():
    assert sum(len(CLAIM.findall(answer(row))) for row in CLEAN) > 80
    assert [claim for row in CLEAN for claim in false_claims(answer(row))] == []


def test_maths_answers_end_in_their_number():
    assert all(re.search(r"\n?#### \d+(\.\d+)?$", row["answer"]) for row in rows("maths"))


def test_wrong_sums_hold_a_false_claim_and_a_wrong_result():
    for row in with_defect("wrong_sum"):
        assert false_claims(row["answer"])
        assert float(row["answer"].split("#### ")[1]) != float(row["defect_of"])


def test_leaked_rows_hold_a_benchmark_question_up_to_two_words():
    for row in with_defect("leaked"):
        allowed = 4 if HAN.search(row["defect_of"]) else 2  # a Chinese word is two characters here
        assert row["defect_of"] in BENCHMARK
        assert words_missing(row["defect_of"], question(row)) <= allowed


def test_no_other_row_holds_a_benchmark_question():
    for row in CORPUS:
        if row["defect"] != "leaked":
            assert not any(words_missing(asked, question(row)) <= 2 for asked in BENCHMARK)


def test_near_duplicates_are_near_and_not_equal():
    originals = {question(row): row for row in CLEAN}
    for row in with_defect("near_duplicate"):
        original = text(originals[row["defect_of"]])
        assert text(row) != original
        assert difflib.SequenceMatcher(None, text(row), original, autojunk=False).ratio() > 0.8


def test_truncated_answers_stop_in_mid_sentence():
    assert all(re.search(r"[\w，]$", answer(row)) for row in with_defect("truncated"))


def test_refusals_refuse_as_an_ai_and_clean_rows_never_do():
    refusing = re.compile(r"as an AI|作为一个(AI|人工智能)|作为AI", re.IGNORECASE)
    assert all(any(map(refusing.search, [*contents(row, "assistant"), answer(row)])) for row in with_defect("refusal"))
    assert not any(refusing.search(text(row)) for row in CLEAN)


def test_only_the_wrong_language_rows_answer_in_the_other_language():
    for row in with_defect("wrong_language"):
        assert bool(HAN.search(question(row))) != bool(HAN.search(prose(answer(row))))
    for row in CLEAN:
        if row["topic"] not in ("translation", "翻译", "表格", "maths"):
            assert bool(HAN.search(question(row))) == bool(HAN.search(answer(row))), question(row)


def test_personal_data_is_invented_and_only_where_it_is_labelled():
    addresses = re.compile(r"[\w.]+@[\w-]+\.[\w.]+\w", re.ASCII)
    for row in with_defect("personal_data"):
        found = addresses.findall(text(row))
        assert found
        assert all(address.endswith(("@example.com", "@example.org")) for address in found)
        assert re.search(r"555-01\d\d", text(row))
    others = [text(row) for row in CORPUS if row["defect"] != "personal_data"]
    assert not any(addresses.search(other) or "555-" in other for other in others)


@pytest.mark.parametrize("row", with_defect("mojibake"), ids=question)
def test_mojibake_is_broken_text_that_can_be_restored(row):
    assert MOJIBAKE.search(answer(row))
    broken = b"".join(c.encode("cp1252") if ord(c) > 0xFF else c.encode("latin-1") for c in answer(row))
    assert broken.decode("utf-8") != answer(row)


def test_clean_rows_hold_no_mojibake():
    assert not any(MOJIBAKE.search(text(row)) for row in CLEAN)


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    from curation.corpus import Corpus
    from curation.ingestion import ingest
    from curation.operators import build
    from curation.scorers import SCORERS
    from curation.scoring import score

    corpus = Corpus.create(tmp_path_factory.mktemp("demo") / "corpus")
    ingest(corpus, [DEMO / f"{name}.jsonl" for name in FILES])
    for name in {name for name, _ in SIGNALS.values()}:
        settings = {"benchmarks": (str(DEMO / "benchmark.jsonl"),)} if name == "contamination" else {}
        score(corpus, build("scorer", SCORERS, name, settings))
    return corpus


def defect_table(corpus):
    """One line per defect: (defect, rows, scorer, condition, found, clean rows flagged)."""
    label = "json_extract_string(metadata, '$.defect')"
    lines = []
    for defect, (scorer, condition) in SIGNALS.items():
        mine, clean = f"{label} = '{defect}'", f"coalesce({label}, 'null') = 'null'"
        found, flagged = (corpus.count(f"({where}) AND ({condition})") for where in (mine, clean))
        lines.append((defect, corpus.count(mine), scorer, condition, found, flagged))
    return lines


def test_every_planted_defect_is_found_by_its_signal(scored):
    table = defect_table(scored)
    assert {defect for defect, *_ in table} == DEFECTS
    assert [line for line in table if line[4] != line[1]] == []
    assert {defect: flagged for defect, *_, flagged in table if flagged} == CLEAN_FLAGGED


def test_the_readme_shows_which_signal_finds_which_defect(scored):
    readme = (Path(studio.__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    for defect, rows, scorer, condition, found, flagged in defect_table(scored):
        assert f"| `{defect}` | {rows} | `{scorer}`: `{condition}` | {found} | {flagged} |" in readme

"""The language of an answer, and whether the question was asked in another."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import polars as pl
import pytest

from curation.scorers import Language
from tests.data import shared

FRENCH = "La mer est froide en hiver, mais les enfants du village y nagent quand même chaque matin."
ENGLISH = "The sea is cold in winter, but the children of the village swim in it every morning."
CHINESE = "冬天的海水很冷，可是村里的孩子们每天早上还是去游泳。"


def measured(question: str, answer: str, **settings: Any) -> dict[str, Any]:
    frame = pl.DataFrame({"id": ["1"], "instruction": [question], "response": [answer]})
    return Language(**settings).score(frame).row(0, named=True)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (ENGLISH, "en"),
        (ENGLISH.upper(), "en"),
        (FRENCH, "fr"),
        (CHINESE, "zh"),
        ("金色的阳光照在河面上。", "zh"),
        ("冬の海は冷たいけれど、村の子供たちは毎朝泳ぎます。", "ja"),
        ("겨울 바다는 차갑지만 마을 아이들은 매일 아침 수영합니다.", "ko"),
        ("Зимой море холодное, но деревенские дети купаются каждое утро.", "ru"),
        (f"```python\nprint('x')\n```\n{FRENCH}", "fr"),
    ],
)
def test_the_language_of_prose_is_told(answer: str, code: str) -> None:
    row = measured("?", answer)
    assert row["language"] == code
    assert 0.5 <= row["language_confidence"] <= 1
    assert row["reason"] is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "the answer is empty"),
        ("  \n", "the answer is empty"),
        ("42 + 1 = 43", "the answer holds no prose"),
        ("```python\nfor line in open('x'):\n    print(line)\n```", "the answer holds no prose"),
        ("def double(n):\n    return n * 2", "the answer holds no prose"),
        ("Yes, indeed.", "the answer is too short to tell its language"),
        ("好", "the answer is too short to tell its language"),
        ("dum tsk tsk ploo bim dum tsk ploo bim dum tsk", "the answer's language is not clear"),
    ],
)
def test_what_cannot_be_told_is_null_with_the_reason(answer: str, reason: str) -> None:
    row = measured(ENGLISH, answer, min_confidence=0.6)
    assert (row["language"], row["language_confidence"], row["reason"]) == (None, None, reason)


@pytest.mark.parametrize(
    ("question", "answer", "mismatch"),
    [
        (ENGLISH, FRENCH, True),
        (ENGLISH, CHINESE, True),
        ("Why so?", CHINESE, None),
        ("What causes thunder?", CHINESE, True),
        ("为什么？", ENGLISH, True),
        (ENGLISH, ENGLISH, False),
        (f"Translate: {ENGLISH}", FRENCH, False),
        ("How do children in the village greet each other in French?", FRENCH, False),
        ("把这句话说得更正式一些：the sea is cold in winter", ENGLISH, False),
        ("写一个包含“every morning”的句子。", ENGLISH, False),
        (f"Shorten this text a little, please.\n{FRENCH}", FRENCH, False),
        ("怎样用Python打印一行文字？", "```python\nprint('this is a line of text')\n```", None),
        ("怎样用Python列出文件？", f"```python\nlist(open('x'))\n```\n{ENGLISH}", True),
        ("如何使用 Git 的 rebase 命令？", "运行 git rebase main，然后解决冲突，再运行 git rebase --continue。", False),
    ],
)
def test_a_mismatch_is_another_language_that_nobody_asked_for(
    question: str, answer: str, mismatch: bool | None
) -> None:
    assert measured(question, answer)["language_mismatch"] is mismatch


def test_short_texts_are_told_when_asked_to() -> None:
    assert measured("?", "Guten Tag!", min_letters=5, min_confidence=0.1)["language"] == "de"


def test_rows_keep_their_order_and_nulls() -> None:
    frame = pl.DataFrame({"id": ["1", "2", "3"], "instruction": ["?", None, "?"], "response": [FRENCH, None, ENGLISH]})
    assert Language().score(frame)["language"].to_list() == ["fr", None, "en"]


OFFLINE = """
import sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "urllib.Request"):
        raise RuntimeError(f"{event} {arguments}")
sys.addaudithook(refuse)
import polars as pl
from curation.scorers import Language
frame = pl.DataFrame({"id": ["1"], "instruction": ["?"], "response": [sys.argv[1]]})
print(Language().score(frame)["language"][0])
"""


def test_nothing_is_fetched_from_the_network() -> None:
    done = subprocess.run([sys.executable, "-c", OFFLINE, FRENCH], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("fr", 0), done.stderr


def test_few_rows_of_real_english_and_chinese_data_mismatch() -> None:
    for name, code, most in (("alpaca_en_demo.json", "en", 2), ("alpaca_zh_demo.json", "zh", 10)):
        rows = json.loads(shared(f"data/{name}").read_text("utf-8"))
        frame = pl.DataFrame(
            {
                "id": [str(i) for i in range(len(rows))],
                "instruction": [f"{r['instruction']}\n{r['input']}" for r in rows],
                "response": [r["output"] for r in rows],
            }
        )
        found = Language().score(frame)
        told = found["language"].drop_nulls()
        assert (told == code).mean() > 0.97
        assert found["language_mismatch"].sum() <= most

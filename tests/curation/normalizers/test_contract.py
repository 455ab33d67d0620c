"""What every normalizer promises."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.normalizers import NORMALIZERS, CodeIndentation, LatexDelimiters, Redact, Unicode, Whitespace
from curation.operators import build
from curation.sample import Message
from tests.curation.normalizers.texts import TEXTS, answer_of
from tests.data import shared

VARIANTS = [
    *(normalizer() for normalizer in NORMALIZERS),
    Whitespace(blank_lines=1, code_line_ends=True),
    Unicode(form="NFKC", straight_quotes=True),
    CodeIndentation(to="tabs", width=2),
    LatexDelimiters(to="brackets"),
    *(build("normalizer", NORMALIZERS, name, parameters) for name, parameters in (
        ("encoding", {"fixes": ["html-entities", "control-characters"], "code": True}),
        ("boilerplate", {"announcements": True}),
        ("reasoning", {"unclosed": "leave"}),
    )),
]  # fmt: skip
NAMES = [json.dumps(normalizer.spec()) for normalizer in VARIANTS]
CLEAN = (
    Message("user", "请用一句话介绍长城，再给一段代码。"),
    Message(
        "assistant",
        "长城（The Great Wall）是中国古代的军事工程：全长21,196.18千米！😀👨‍👩‍👧\n\n"
        "```python\ndef area(r):\n    # 圆的面积\n    return 3.14 * r ** 2\n```\n\n“价格”是 $5 到 $10。",
        "先想一想。",
    ),
)
CODE = '```c\r\n\tif (x)\u00a0{  \r\n\r\n\r\n\r\n\t\ty("ＡＢ", \'cafÃ©\', "\\(a\\)");\t\r\n```'


@pytest.mark.parametrize("normalizer", VARIANTS, ids=NAMES)
def test_doing_it_twice_changes_nothing_more(normalizer):
    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(question=TEXTS, answer=TEXTS, reasoning=st.none() | TEXTS)
    def check(question, answer, reasoning):
        once = normalizer.normalize((Message("user", question), Message("assistant", answer, reasoning)))
        assert normalizer.normalize(once) == once
        assert [m.role for m in once] == ["user", "assistant"]

    check()


@pytest.mark.parametrize("normalizer", VARIANTS, ids=NAMES)
def test_clean_chinese_emoji_and_code_stay_as_they_are(normalizer):
    if normalizer.spec()["parameters"] == {"to": "tabs", "width": 2}:
        pytest.skip("asked to change code")
    assert normalizer.normalize(CLEAN) is CLEAN


@pytest.mark.parametrize("name", ["whitespace", "unicode", "encoding", "latex-delimiters", "boilerplate", "reasoning"])
def test_a_code_fence_survives_byte_for_byte(name):
    normalizer = build("normalizer", NORMALIZERS, name)
    assert CODE in answer_of(normalizer, f"Sure! \u00a0Itâ€™s \\(x\\) ＡＢ:  \n\n{CODE}\n\n\n\nI hope this helps!")


@pytest.mark.parametrize("normalizer", NORMALIZERS, ids=lambda n: n.name)
def test_every_normalizer_has_a_name_a_source_and_described_fields(normalizer):
    assert "Source:" in normalizer.__doc__
    assert all(field.description for field in normalizer.model_fields.values())
    assert build("normalizer", NORMALIZERS, normalizer.name) == normalizer()


@pytest.mark.parametrize(
    ("name", "english", "chinese"),
    [
        ("whitespace", 148, 31), ("unicode", 0, 0), ("encoding", 0, 0), ("code-indentation", 0, 0),
        ("latex-delimiters", 0, 0), ("boilerplate", 6, 8), ("reasoning", 0, 0), ("redact", 3, 0),
    ],
)  # fmt: skip
def test_few_of_a_thousand_real_samples_change(name, english, chinese):
    normalizer = build("normalizer", NORMALIZERS, name)
    for file, count in (("alpaca_en_demo", english), ("alpaca_zh_demo", chinese)):
        rows = json.loads(shared(f"data/{file}.json").read_text(encoding="utf-8"))
        turns = [(Message("user", r["instruction"] + r["input"]), Message("assistant", r["output"])) for r in rows]
        changed = [t for t in turns if normalizer.normalize(t) is not t]
        assert len(changed) == count


def test_turns_without_the_text_that_is_rewritten_keep_their_tool_calls():
    call = Message("assistant", "", None, '[{"name": "dial", "arguments": {"n": 1}}]')
    assert all(
        normalizer.normalize((call,)) == (call,) for normalizer in VARIANTS if not isinstance(normalizer, Redact)
    )

from __future__ import annotations

from curation.normalizers import Unicode
from tests.curation.normalizers.texts import answer_of


def test_letters_are_composed():
    assert answer_of(Unicode(), "cafe\u0301") == "caf\u00e9"


def test_full_width_letters_and_digits_become_plain_in_any_text():
    assert answer_of(Unicode(), "ＧＰＴ４发布于２０２３年") == "GPT4发布于2023年"


def test_full_width_punctuation_becomes_plain_in_latin_text_only():
    assert answer_of(Unicode(), "Hello，ｗｏｒｌｄ！") == "Hello,world!"
    assert answer_of(Unicode(), "你好，世界！（GPT-4，2023）") == "你好，世界！（GPT-4，2023）"
    assert answer_of(Unicode(), "它有属性：`x`，`y`，`z`。") == "它有属性：`x`，`y`，`z`。"


def test_quotes_become_straight_when_asked_and_chinese_ones_stay():
    assert answer_of(Unicode(), "“It’s”") == "“It’s”"
    assert answer_of(Unicode(straight_quotes=True), "“It’s”\n他说：“好”。") == '"It\'s"\n他说：“好”。'


def test_nfkc_keeps_chinese_punctuation():
    assert answer_of(Unicode(form="NFKC"), "① 完成，①（好！）…… ㈱") == "1 完成，1（好！）…… (株)"
    assert answer_of(Unicode(form="NFKC"), "x² ﬁne…") == "x2 fine..."


def test_widths_can_be_left():
    assert answer_of(Unicode(widths=False), "ＡＢＣ") == "ＡＢＣ"

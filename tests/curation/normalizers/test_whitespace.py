from __future__ import annotations

from curation.normalizers import Whitespace
from curation.normalizers.passages import passages
from tests.curation.normalizers.texts import answer_of


def test_spaces_that_nobody_sees_go():
    text = "\ufeff\n  \nOne\u00a0two  \r\nthree\u200b four\t\n\n\n\n\nfive\u3000six \n\n"
    assert answer_of(Whitespace(), text) == "One two\nthree four\n\n\nfive six"


def test_the_number_of_empty_lines_is_chosen():
    assert answer_of(Whitespace(blank_lines=1), "a\n\n\n\nb\n \n \nc") == "a\n\nb\n\nc"
    assert answer_of(Whitespace(blank_lines=0), "a\n\n\n\nb") == "a\nb"


def test_indentation_stays_and_that_of_a_chinese_paragraph_too():
    text = "要点：\n　　第一段。\n  - one\n    - two"
    assert answer_of(Whitespace(), text) == text


def test_emoji_and_persian_keep_their_joiners():
    text = "👨\u200d👩\u200d👧 می\u200cخواهم"
    assert answer_of(Whitespace(), text) == text


def test_indented_and_inline_code_stays():
    text = "See `a\u00a0b`:\n\n    x = 1  \n\n\n\n\n    y = 2\t\n\nDone."
    assert answer_of(Whitespace(), text) == text


def test_line_ends_in_code_change_only_when_asked():
    text = "```\r\na \r\n```\r\nb\r\n"
    assert answer_of(Whitespace(), text) == "```\r\na \r\n```\r\nb"
    assert answer_of(Whitespace(code_line_ends=True), text) == "```\na \n```\nb"


def test_the_spaces_in_mojibake_wait_for_the_repair():
    broken = "盒子，短篇".encode().decode("latin-1")
    assert answer_of(Whitespace(), broken) == broken


def test_fences_are_found_in_lists_late_in_a_line_and_never_closed():
    text = "1. Run:\n   ```sh\n   ls  \n   ```\nThen: ```python\nprint(1)```\nEnd.\n~~~\nopen  "
    kinds = [(p.kind, p.language) for p in passages(text)]
    assert kinds == [("prose", ""), ("fence", "sh"), ("fence", "python"), ("prose", ""), ("fence", "")]

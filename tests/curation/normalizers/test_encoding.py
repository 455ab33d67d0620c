from __future__ import annotations

import json

import pytest

from curation.normalizers import Encoding
from curation.sample import Message
from studio.demo_corpus import DEMO, FILES
from tests.curation.normalizers.texts import answer_of


def bytes_as_characters(data: bytes) -> str:
    """Windows-1252 as browsers read it: the five bytes it lacks are control characters."""
    return "".join(
        bytes([b]).decode("latin-1" if b in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else "windows-1252") for b in data
    )


@pytest.mark.parametrize(
    "text", ["长城是中国古代的军事工程。", "It’s “naïve” – très déjà vu", "Olá, ação! 😀", "Ďakujem žltý kôň"]
)
def test_text_that_was_read_as_windows_1252_comes_back(text):
    assert answer_of(Encoding(), bytes_as_characters(text.encode())) == text


def test_one_bad_line_is_repaired_beside_a_good_one():
    assert answer_of(Encoding(), f"长城很长。\n{bytes_as_characters('故宫'.encode())}") == "长城很长。\n故宫"


def test_a_text_about_encodings_is_left():
    text = "Why does 'café' print as 'cafÃ©'?"
    assert answer_of(Encoding(), text) == text


def test_cubic_angstroms_are_no_mojibake():
    assert answer_of(Encoding(), "about 27.24 Å³.") == "about 27.24 Å³."


def test_code_is_repaired_only_when_asked():
    text = "Itâ€™s:\n```\nprint('cafÃ©')\n```"
    assert answer_of(Encoding(), text) == "It’s:\n```\nprint('cafÃ©')\n```"
    assert answer_of(Encoding(code=True), text) == "It’s:\n```\nprint('café')\n```"


def test_other_fixes_are_made_only_when_asked():
    assert answer_of(Encoding(), "a &amp; b ﬁne") == "a &amp; b ﬁne"
    assert answer_of(Encoding(fixes="html-entities,latin-ligatures"), "a &amp; b ﬁne") == "a & b fine"


def test_the_ten_broken_rows_of_the_demo_are_repaired_and_no_other():
    changed = {None: 0, "mojibake": 0}
    for name in FILES:
        for line in (DEMO / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            words = [v for k, v in row.items() if isinstance(v, str) and k not in ("topic", "defect", "defect_of")]
            words += [m["content"] for m in row.get("messages", [])]
            turns = tuple(Message("assistant", text) for text in words)
            new = Encoding().normalize(turns)
            if new != turns:
                changed[row["defect"]] += 1
            if row["defect"] == "mojibake":
                assert not any(c in m.content for m in new for c in "â€ã\ufffd\x81\x8f\x90\x9d")
    assert changed == {None: 0, "mojibake": 10}

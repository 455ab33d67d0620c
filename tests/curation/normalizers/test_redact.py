from __future__ import annotations

import json

import pytest

from curation.normalizers import Redact
from curation.normalizers.redact import redacted
from curation.sample import Message
from curation.texts.personal_data import iban_holds, luhn_holds, resident_id_holds, spans
from studio.demo_corpus import DEMO, FILES
from tests.data import shared


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("Mail jane.doe@example.com now.", "Mail [EMAIL] now."),
        ("电话555-0133，邮箱a.b@example.com。", "电话[PHONE]，邮箱[EMAIL]。"),
        ("Call (212) 555-0100 or +44 20 7946 0958.", "Call [PHONE] or [PHONE]."),
        ("手机13812345678或010-62345678", "手机[PHONE]或[PHONE]"),
        ("SSN 078-05-1120, card 4111 1111 1111 1111", "SSN [ID], card [CARD]"),
        ("号码11010519491231002X。", "号码[ID]。"),
        ("DE89 3704 0044 0532 0130 00", "[CARD]"),
        ("from 8.8.8.8 and 2001:4860:4860::8888", "from [IP] and [IP]"),
    ],
)
def test_each_kind_has_its_placeholder(text, new):
    assert redacted(text) == new


@pytest.mark.parametrize(
    "text",
    [
        "icon@2x.png and git@github.com:a/b", "binary 0001 0010 0100 1000", "3 6 9 12 15 18 21 24 27 30 33 36",
        "192.168.0.1 and 127.0.0.1", "version 1.2.3.4", "Between 1939-1945 and 2019-2020", "ISBN 978-3-16-148410-0",
        "pi is 3.14159265358979", "1234567890 + 9876543210", "2023-11-05T10:20:30", "他们在 1999 2000 年", "$1,234,567",
        "4111 1111 1111 1112", "110105194912310021",
    ],
)  # fmt: skip
def test_other_numbers_stay(text):
    assert redacted(text) == text


def test_check_digits():
    assert luhn_holds("4111111111111111")
    assert not luhn_holds("4111111111111112")
    assert resident_id_holds("11010519491231002X")
    assert not resident_id_holds("110105194913310021")
    assert iban_holds("GB82 WEST 1234 5698 7654 32")


def test_the_kinds_are_chosen():
    text = "a.b@example.com, call 555-0142"
    assert redacted(text, ("phone",)) == "a.b@example.com, call [PHONE]"
    assert Redact(kinds="email,ip").kinds == ("email", "ip")


def test_question_answer_reasoning_calls_and_code_agree():
    call = json.dumps([{"name": "dial", "arguments": json.dumps({"phone": 5550142, "note": "to a.b@example.com"})}])
    turns = (
        Message("user", "Ring 555-0142."),
        Message("assistant", "```\nphone = '555-0142'\n```", "phone 555-0142", call),
    )
    user, answer = Redact().normalize(turns)
    assert (user.content, answer.content) == ("Ring [PHONE].", "```\nphone = '[PHONE]'\n```")
    assert answer.reasoning == "phone [PHONE]"
    assert json.loads(json.loads(answer.tool_calls)[0]["arguments"]) == {"phone": "[PHONE]", "note": "to [EMAIL]"}


def test_the_ten_rows_of_the_demo_are_redacted_and_no_other():
    changed = []
    for name in FILES:
        for line in (DEMO / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            texts = [v for v in row.values() if isinstance(v, str)] + [m["content"] for m in row.get("messages", [])]
            if any(spans(text) for text in texts):
                changed.append(row["defect"])
                left = " ".join(map(redacted, texts))
                assert not any(bad in left for bad in ("@example", "555-0", "0000000000", "9999999999", "0000 0000"))
    assert changed == ["personal_data"] * 10


def test_short_tables_of_numbers_in_real_data_are_no_cards():
    rows = json.loads(shared("data/code_alpaca_2k.json").read_text(encoding="utf-8"))
    found = [s.kind for row in rows for text in row.values() for s in spans(text)]
    assert "card" not in found
    assert 0 < len(found) < 20

"""JSON as models write it: read, repaired where that is safe, else refused with the raw text kept."""

from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.language_models.json_answers import json_in, objects_in

PLAIN = {
    "as it is": ('{"a": 1}', {"a": 1}),
    "a list": ('["x", "y"]', ["x", "y"]),
    "fences": ('```json\n{"a": 1}\n```', {"a": 1}),
    "fences without a name": ('Here it is:\n```\n{"a": 1}\n```\nEnjoy!', {"a": 1}),
    "fences in a string of it": ('```json\n{"a": "```py\\nx\\n```"}\n```', {"a": "```py\nx\n```"}),
    "prose around": ('Sure! {"a": 1} I hope this helps.', {"a": 1}),
    "prose with brackets": ('Of {x} in [1] and \\frac{1}{2}: {"a": 1}', {"a": 1}),
    "XML around": ('<answer>\n{"a": 1}\n</answer>', {"a": 1}),
    "a byte order mark": ('\ufeff{"a": 1}', {"a": 1}),
    "a bracket too many": ('{"a": 1}}', {"a": 1}),
    "the same twice": ('{"a": 1}\n\n{"a": 1}', {"a": 1}),
    "code before it": ('```python\nx = {"b": 2}\n```\n```json\n{"a": 1}\n```', {"a": 1}),
    "quotes in a string": ('{"a": "he said \\"no\\" and “yes”"}', {"a": 'he said "no" and “yes”'}),
    "comment signs in a string": ('{"a": "http://x.y/#z"}', {"a": "http://x.y/#z"}),
}
REPAIRED = {
    "a trailing comma": ('{"a": [1, 2,],}', {"a": [1, 2]}),
    "single quotes": ("{'a': 'it\\'s', 'b': 'say \"hi\"'}", {"a": "it's", "b": 'say "hi"'}),
    "an apostrophe in single quotes": ("{'a': 'don't', 'b': 'x'}", {"a": "don't", "b": "x"}),
    "keys without quotes": ('{a: 1, b_c: "x"}', {"a": 1, "b_c": "x"}),
    "comments": ('{"a": 1, // one\n "b": 2 /* two, "c": 3 */}', {"a": 1, "b": 2}),
    "Python's literals": ('{"a": True, "b": None}', {"a": True, "b": None}),
    "JavaScript's literals": ('{"a": undefined, "b": "x",}', {"a": None, "b": "x"}),
    "not a number": ('{"a": NaN, "b": -Infinity}', {"a": None, "b": None}),
    "not a number, and broken": ("{'a': NaN}", {"a": None}),
    "line breaks in a string": ('{"a": "one\ntwo"}', {"a": "one\ntwo"}),
    "quotes in a string": ('{"a": "she said "yes", then left", "b": 1}', {"a": 'she said "yes", then left', "b": 1}),
    "a comma missing": ('{"a": "x"\n "b": [1, 2]}', {"a": "x", "b": [1, 2]}),
    "a semicolon for a comma": ('{"a": 1; "b": 2}', {"a": 1, "b": 2}),
    "dots for more": ('{"a": "x", ...}', {"a": "x"}),
    "an odd number": ('{"a": .5, "b": +3}', {"a": 0.5, "b": 3}),
    "what is no number": ('{"a": 3-4, "b": 1,000}', {"a": "3-4", "b": "1,000"}),
    "within a string": ('"{\\"a\\": \\"x\\\\ny\\"}"', {"a": "x\ny"}),
    "within a string without quotes": ('{\\"a\\": \\"x\\"}', {"a": "x"}),
    "Chinese quotes and colons": ("{“答案”：“他说‘好’”，“b”：3}", {"答案": "他说‘好’", "b": 3}),
    "Chinese colons alone": ('{"答案"："很好"，"b"：3}', {"答案": "很好", "b": 3}),
    "TeX": ('{"a": "$\\frac{1}{2}$", "b": "x\\ny \\alpha"}', {"a": "$\\frac{1}{2}$", "b": "x\ny \\alpha"}),
    "TeX that is standard JSON": ('{"a": "\\beta \\times"}', {"a": "\\beta \\times"}),
    "brackets doubled": ('{{"a": 1}}', {"a": 1}),
    "a list without commas": ('["x" "y"]', ["x", "y"]),
    "the wrong bracket closes": ('{"a": [1, 2}', {"a": [1, 2]}),
}
CUT_OFF = {
    "in a string": ('{"score": 4, "reason": "it is goo', {"score": 4}),
    "in a number": ('{"name": "x", "score": 1', {"name": "x"}),
    "in a list": ('```json\n["one", "two", "thr', ["one", "two"]),
    "after a colon": ('{"a": "x", "b":', {"a": "x"}),
    "before the last bracket": ('{"a": {"b": 1}', {"a": {"b": 1}}),
    "within an object of a list": ('[{"a": 1}, {"a": 2, "b": "y', [{"a": 1}, {"a": 2}]),
}
REFUSED = {
    "no JSON": ("I like {curly} brackets.", "it is no JSON"),
    "words in brackets": ("Answer: [A]", "words in brackets"),
    "a set": ("The set {1, 2, 3} has three members.", "it is no JSON"),
    "a number": ("42", "no JSON object but a number"),
    "nothing": (" ", "there is no JSON in it"),
    "several objects": ('{"a": 1}\n{"b": 2}', "2 different JSON values"),
    "a key twice": ('{"a": 1, "a": 2}', "a key stands twice"),
    "code in a string": ('{"a": "f():\n    return {"x": 1}"}', "can't be told"),
    "a text without its end": ('{"a": "x, "b": "y"}', "can't be told"),
    "a text without its beginning": ('{"a": x", "b": "y"}', "can't be told"),
    "a key without its quote": ('{"a: "x", "b": "y"}', "can't be told"),
    "a key without its colon": ('{"a" "x", "b": "y"}', "can't be told"),
    "a part of an object whose bracket is missing": ('"a": [1, 2], "b": 3}', "can't be told"),
    "a text twice quoted": ("{'a': 'it''s'}", "can't be told"),
    "a key without a value": ('{"a": ["x" "y"], "b"}', "can't be told"),
    "a repair that loses a unit": ('{"a": 80%}', "lose or add"),
    "a repair that loses zeros": ('{"a": 007,}', "lose or add"),
    "a path": ('{"a": "C:\\new\\quark"}', "two ways"),
    "cut off before the first value": ('{"score": 4', "there is no JSON"),
    "a value that was never given": ('{"a": ...}', "lose or add"),
}


@pytest.mark.parametrize("text, value", PLAIN.values(), ids=PLAIN)
def test_json_is_found_in_what_stands_around_it(text, value):
    read = json_in(text)
    assert (read.value, read.repaired, read.cut_off, read.problem) == (value, False, False, None)


@pytest.mark.parametrize("text, value", REPAIRED.values(), ids=REPAIRED)
def test_malformed_json_is_repaired_and_says_so(text, value):
    read = json_in(text)
    assert (read.value, read.repaired, read.cut_off, read.problem) == (value, True, False, None)


@pytest.mark.parametrize("text, value", CUT_OFF.values(), ids=CUT_OFF)
def test_of_json_that_was_cut_off_the_complete_values_are_read(text, value):
    read = json_in(text)
    assert (read.value, read.repaired, read.cut_off, read.problem) == (value, True, True, None)


@pytest.mark.parametrize("text, problem", REFUSED.values(), ids=REFUSED)
def test_what_could_only_be_guessed_is_kept_raw_with_the_reason(text, problem):
    read = json_in(text)
    assert (read.value, read.raw) == (None, text)
    assert problem in read.problem


SCORE = {
    "type": "object",
    "properties": {"score": {"type": "number", "maximum": 5}, "why": {"type": "string"}},
    "required": ["score"],
}


def test_a_schema_is_checked():
    assert json_in("{'score': 4}", SCORE).value == {"score": 4}
    problems = [json_in(text, SCORE).problem for text in ('{"why": "x"}', '{"score": "4"}', '{"score": 9}', "[1]")]
    assert problems == [
        "the JSON: 'score' is a required property",
        "score: is no number",
        "score: breaks the rule 'maximum'",
        "the JSON: is no object",
    ]


def test_a_schema_tells_which_of_several_objects_is_meant():
    assert json_in('{"draft": "x"}\nso: {"score": 4}', SCORE).value == {"score": 4}
    assert "2 different" in json_in('{"score": 3}\nNo: {"score": 4}', SCORE).problem


def test_what_was_cut_off_meets_the_schema_only_with_all_it_requires():
    assert json_in('{"score": 4, "why": "it is g', SCORE).value == {"score": 4}
    assert "required" in json_in('{"why": "it is good", "score": 4', SCORE).problem


def test_every_object_of_a_text_can_be_had_in_order():
    assert objects_in('{"a": 1} then {b: 2} and [3] and {c}') == [{"a": 1}, {"b": 2}]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 10**6) | st.text(alphabet="ab\"'{}[]:,\\/#\n 字“”：", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet="ab 字", max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.text(alphabet="abc", min_size=1, max_size=3), VALUES, max_size=3), st.booleans())
def test_standard_json_is_always_read_as_it_stands(value, ascii_only):
    read = json_in(json.dumps(value, ensure_ascii=ascii_only))
    assert (read.value, read.repaired) == (value, False)


@settings(max_examples=120, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["a", "b", "cd"]), st.text(alphabet="xy \"',:{}]\\n", max_size=8), min_size=1),
    st.data(),
)
def test_of_json_cut_anywhere_only_true_values_come_back(value, data):
    text = json.dumps(value)
    cut = data.draw(st.integers(0, len(text) - 1))
    read = json_in(text[:cut])
    assert read.problem is not None or all(value.get(key) == inner for key, inner in read.value.items())


PARTS = [
    {"instruction": 'Write a poem, please: it\'s "nice".', "score": 4, "tags": ["a b", "c"], "why": "Good; 3, 4"},
    {"a": [{"q": "What?", "r": "x"}, {"q": "Y: z", "r": "No."}], "n": 1.5, "b": True},
]


def around_texts(text: str) -> list[int]:
    """Places of the signs that JSON is built of, those in its texts left out."""
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', lambda m: '"' + "x" * (len(m[0]) - 2) + '"', text)
    return [place for place, sign in enumerate(outside) if sign in '"{}[],:']


def part_of(found: object, whole: object) -> bool:
    """Whether something is the beginning of what it should be."""
    if isinstance(found, dict) and isinstance(whole, dict):
        return all(key in whole and part_of(inner, whole[key]) for key, inner in found.items())
    if isinstance(found, list) and isinstance(whole, list):
        return len(found) <= len(whole) and all(part_of(*pair) for pair in zip(found, whole, strict=False))
    return found == whole


@pytest.mark.parametrize("whole", PARTS, ids=["flat", "nested"])
def test_with_any_sign_left_out_it_is_read_as_it_was_or_refused(whole):
    text = json.dumps(whole)
    read = [json_in(text[:place] + text[place + 1 :]) for place in around_texts(text)]
    assert [a.raw for a in read if a.problem is None and not a.cut_off and a.value != whole] == []
    assert [a.raw for a in read if a.cut_off and not part_of(a.value, whole)] == []
    assert sum(a.problem is None for a in read) >= len(read) // 5


@pytest.mark.parametrize(
    "text",
    ["{" * 100_000, '{"a": ' * 20_000, "[1," * 50_000, '{"a": "' + 'x" ' * 50_000, "prose {x} " * 20_000, "“" * 90_000],
)
def test_no_text_takes_long(text):
    begun = time.perf_counter()
    assert json_in(text).problem
    assert time.perf_counter() - begun < 3

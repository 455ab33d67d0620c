"""Reading on the Browse page: harmless text, marked passages, differences, going on, deciding about many."""

from __future__ import annotations

import pytest

from curation.corpus import Corpus
from curation.deciding import edit
from curation.sample import Message, Sample, to_frame
from curation.scorers.near_duplicate import NearDuplicate
from curation.scoring import score
from studio.pages import reading, spans, versions
from studio.pages.conversations import LONGEST, tool_call_lines
from studio.pages.prose import literal, safe_markdown, visible
from tests.curation.samples import corpus_of, pair
from tests.studio.pages import opener

# -------------------------------------------------------------------- text


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "![x](http://evil.example/x.png)",
        "[x](javascript:alert(1))",
        ":red[x]",
        ":material/home:",
        "<img src=x onerror=alert(1)>",
        "http://evil.example",
    ],
)
def test_what_could_run_load_or_link_is_written_as_letters(hostile):
    written = safe_markdown(f"**a** {hostile}") or ""
    assert "](" not in written.replace("\\]\\(", "")
    assert "<" not in written.replace("\\<", "")
    assert ":red[" not in written
    assert ":material/" not in written
    assert "http\\:\\/\\/e" not in written  # an unseen sign keeps it from becoming a link


def test_plain_prose_is_left_as_it_is_and_markdown_is_written_anew():
    assert safe_markdown("Two lines,\n  with <b>spaces</b> & $5.") is None
    assert safe_markdown("# Title") == "##### Title"
    assert safe_markdown("1. a\n   - b\n2. c") == "1. a\n   - b\n2. c"
    assert safe_markdown("| a | b |\n|---|--:|\n| 1 | x\\|y |") == "| a | b |\n| --- | --: |\n| 1 | x\\|y |"
    assert safe_markdown("use `a|b`") == "use `a|b`"


def test_formulas_are_told_from_prices():
    assert safe_markdown("If $x^2$ costs $5 and $10.") == "If $x^2$ costs \\$5 and \\$10\\."
    assert safe_markdown("\\(a_i\\)") == "$a_i$"
    assert safe_markdown("\\[ \\frac12 \\]") == "$$\n\\frac12\n$$"
    assert safe_markdown("a $\\href{javascript:x}{y}$") is None
    assert safe_markdown("`$x$`") == "`$x$`"


def test_what_is_not_seen_is_shown_by_its_code():
    assert visible("a\u202eb\u200bc\x07\r\nd\t") == "a‹U+202E›b‹U+200B›c‹U+0007›\nd\t"


def test_arrows_and_addresses_stay_letters():
    assert literal("a -> b").replace("\u2060", "") == "a \\-\\> b"
    assert "\u2060" in literal("a@b.example")


def test_a_tool_call_is_read_in_both_ways_of_writing_it():
    assert tool_call_lines('[{"name": "f", "arguments": {"a": 1}}]') == [("f", '{\n  "a": 1\n}')]
    assert tool_call_lines('[{"function": {"name": "f", "arguments": "{\\"a\\": 1}"}}]') == [("f", '{\n  "a": 1\n}')]
    assert tool_call_lines('[{"name": "f", "arguments": ""}]') == [("f", "")]
    assert tool_call_lines("not JSON") is None
    assert tool_call_lines("[" * 100_000) is None


# -------------------------------------------------------------------- marked passages and differences


def test_personal_data_and_shared_words_are_marked_where_they_stand():
    text = "Write to ada@example.com today"
    assert [text[s.start : s.end] for s in spans.personal(text)] == ["ada@example.com"]
    own, other = "the old bread dough rises in a warm place", "cold bread dough rises in a cold place"
    assert [own[s.start : s.end] for s in spans.shared(own, [other], "duplicate")] == ["bread dough rises in a"]


def test_passages_that_lie_over_each_other_carry_both_marks():
    found = spans.passages("abcdef", [spans.Span(0, 4, "duplicate"), spans.Span(2, 6, "personal", "email")])
    assert [(p.text, p.marks) for p in found] == [
        ("ab", ("duplicate",)),
        ("cd", ("duplicate", "personal")),
        ("ef", ("personal",)),
    ]
    assert found[2].told == "e-mail address"


def test_a_difference_marks_words_and_chinese_characters():
    assert [(p.text, p.marks) for p in versions.difference("It is red.", "It is blue.")] == [
        ("It is ", ()),
        ("red", ("removed",)),
        ("blue", ("added",)),
        (".", ()),
    ]
    assert ("浙江", ("added",)) in [(p.text, p.marks) for p in versions.difference("产自杭州", "产自浙江杭州")]


def test_each_answer_is_whole_with_its_own_words_marked():
    chosen, rejected = versions.sides("Paris, on the Seine", "Lyon, on the Rhone")
    assert "".join(p.text for p in chosen) == "Paris, on the Seine"
    assert "".join(p.text for p in rejected) == "Lyon, on the Rhone"
    assert [p.text for p in rejected if p.marks] == ["Lyon", "Rhone"]


# -------------------------------------------------------------------- the page


@pytest.fixture
def corpus(tmp_path):
    rows = [pair(f"question {n}", f"answer {n}", source="s", tags=("t",)) for n in range(60)]
    return corpus_of(tmp_path / "c", rows)


@pytest.fixture
def open_page(corpus, monkeypatch):
    return opener(monkeypatch, corpus.path)


def ids(corpus: Corpus) -> list[str]:
    return corpus.frame(["id"])["id"].to_list()


def reads(app) -> str:
    asked = app.query_params["sample"]
    return asked[0] if isinstance(asked, list) else asked


def press(app, key: str):
    return app.button(key=key).click().run()


def test_a_decision_goes_on_to_the_next_sample_and_undo_comes_back(corpus, open_page):
    app, (first, second, *_) = open_page("browse"), ids(corpus)
    press(app, f"keep-{first}")
    assert reads(app) == second
    press(app, f"drop-{second}")
    assert corpus.frame(["decision"], limit=2)["decision"].to_list() == ["keep", "drop"]
    press(app, next(b.key for b in app.button if b.key and b.key.startswith("undo-")))
    assert reads(app) == second
    assert corpus.frame(["decision"], limit=2)["decision"].to_list() == ["keep", None]


def test_a_decided_sample_keeps_its_place_until_the_next_page_which_leaves_none_out(corpus, open_page):
    app, every = open_page("browse", where="decision IS NULL"), ids(corpus)
    press(app, f"keep-{every[0]}")
    shown = app.dataframe[0].value["id"].to_list()
    assert shown == every[:50]
    app.query_params["sample"] = every[49]
    press(app.run(), "deciding-step-1")
    assert reads(app) == every[50]
    assert app.dataframe[0].value["id"].to_list() == every[1:51]


def test_the_last_row_leads_to_the_first_of_the_next_page_and_back(corpus, open_page):
    every = ids(corpus)
    app = press(open_page("browse", sample=every[49]), "deciding-step-1")
    assert reads(app) == every[50]
    assert app.query_params["page"] in ("2", ["2"])
    assert reads(press(app, "deciding-step--1")) == every[49]


def test_a_link_brings_page_order_and_way_of_showing(corpus, open_page):
    app = open_page("browse", page="2", sort="position", low="1")
    assert app.dataframe[0].value["id"].to_list() == ids(corpus)[50:]
    cards = open_page("browse", **{"as": "cards", "page": "2"})
    assert next(c.key for c in cards.checkbox if c.key.startswith("tick-")).endswith(ids(corpus)[10])
    assert open_page("browse", page="-7", sort="no such", view="x").exception == []


def test_what_was_measured_is_offered_first_for_sorting_and_what_nobody_sorts_by_is_not(corpus, open_page):
    from curation.scorers.length import Length

    score(corpus, Length())
    offered = open_page("browse").selectbox(key="browse_sort").options
    assert offered[:2] == ["Sort: as ingested", "Sort: length"]
    assert offered.index("Sort: position") > offered.index("Sort: length_tokens")
    assert not {"Sort: id", "Sort: messages", "Sort: metadata", "Sort: batch"} & set(offered)


def test_the_order_is_turned_round_by_a_button(corpus, open_page):
    app = open_page("browse", sort="position")
    assert app.dataframe[0].value["id"][0] == ids(corpus)[-1]
    press(app, "browse_turn_order")
    assert app.dataframe[0].value["id"][0] == ids(corpus)[0]
    assert app.query_params["low"] in ("1", ["1"])


def test_ticked_rows_are_dropped_together_and_taken_back_right_there(corpus, open_page):
    app = open_page("browse")
    key = next(k for k in app.session_state if str(k).startswith("browse_table_"))
    app.session_state[key] = {"selection": {"rows": [1, 3], "columns": [], "cells": []}}
    app.run()
    press(app, "ticked_drop")
    assert corpus.count("decision = 'drop'") == 2
    press(app, "ticked_undo")
    assert corpus.count("decision = 'drop'") == 0
    assert not app.exception


def test_cards_show_several_samples_in_full(corpus, open_page):
    app = open_page("browse", **{"as": "cards"})
    said = [text.value for text in app.text]
    assert all(f"answer {n}" in said for n in range(10))
    app.checkbox(key=f"tick-{app.session_state['browse_shown'].view}-{ids(corpus)[2]}").check().run()
    press(app, "ticked_keep")
    assert corpus.frame(["decision"], limit=3)["decision"].to_list() == [None, None, "keep"]


def test_an_edited_sample_can_be_read_as_differences(corpus, open_page):
    edit(corpus, ids(corpus)[0], response="a better answer")
    new = corpus.query("SELECT replaced_by FROM states WHERE replaced_by IS NOT NULL").item()
    app = open_page("browse", sample=new, read="changes")
    assert not app.exception
    assert any("1 turn is as it was" in c.value for c in app.caption)


def test_a_highlight_that_nothing_was_scored_for_names_its_scorer(corpus, open_page):
    app = open_page("browse", marks="duplicate,personal")
    told = " ".join(c.value.replace("\\", "") for c in app.caption)
    assert "Duplicate: run the scorer near-duplicate first." in told
    assert "No personal data was found in it." in told
    score(corpus, NearDuplicate())
    assert spans.highlight(corpus, ids(corpus)[0], "duplicate").missing is None


def test_a_line_of_ten_megabytes_is_cut_and_can_be_opened_further(tmp_path, open_page):
    long = Sample((Message("user", "Hi"), Message("assistant", "A" * 10_000_000)))
    other = Corpus.create(tmp_path / "long")
    other.add(to_frame([long]))
    app = open_page("browse", other.path)
    assert max(len(text.value) for text in app.text) == LONGEST
    assert any("9,994,000 more characters" in c.value for c in app.caption)
    press(app, next(b.key for b in app.button if b.label == "Show more"))
    assert max(len(text.value) for text in app.text) == 4 * LONGEST


def test_all_scores_of_a_sample_are_read_at_once(corpus):
    from curation.scorers.length import Length

    score(corpus, Length(), where="position = 1")
    first, second = ids(corpus)[:2]
    found = reading.scores_of(corpus, [first, second])
    assert found[first]["length"] == len("question 0") + len("answer 0")
    assert found[second]["length"] is None
    assert reading.why_not(corpus, second, ["length"]) == {"length": "not scored yet"}


def test_a_score_of_zero_is_a_value_and_a_run_without_a_shard_has_none(corpus, open_page):
    from curation.scorers import Heuristics

    score(corpus, Heuristics())
    corpus.begin_scoring("cancelled", "slower", "{}", None, {"slower": "DOUBLE"})
    first = ids(corpus)[0]
    assert reading.scores_of(corpus, [first])[first]["heuristics"] == 0
    app = open_page("browse", sample=first)
    assert not app.exception
    assert not app.error
    assert any("badge[heuristics\\: 0]" in text.value for text in app.markdown)
    assert reading.why_not(corpus, first, ["slower"]) == {"slower": "not scored yet"}


def test_what_was_typed_in_the_editor_is_there_when_it_is_opened_again(corpus, open_page):
    app, first = open_page("browse"), ids(corpus)[0]
    app.session_state["deciding-edit-open"] = True
    app.run().text_area(key=f"answer-{first}").input("half an answer").run()
    for opened in (False, True):
        app.session_state["deciding-edit-open"] = opened
        app.run()
    assert app.text_area(key=f"answer-{first}").value == "half an answer"

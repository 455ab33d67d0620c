import string
import threading
from pathlib import Path

import pytest
from babel.messages.pofile import read_po
from streamlit.runtime.fragment import MemoryFragmentStorage
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.pages_manager import PagesManager
from streamlit.runtime.scriptrunner import ScriptRunContext, add_script_run_ctx
from streamlit.runtime.state import SafeSessionState, SessionState

from curation.errors import CorpusError
from studio.languages import HERE, KEY, LANGUAGES, catalogue, t, tn
from studio.languages.telling import Telling
from tests.studio import templates
from tests.studio.catalogues import asked, keys, untold

OTHERS = [code for code in LANGUAGES if code != "en"]


def test_english_is_its_own_key_and_the_values_are_filled_in():
    assert t("Rows {first:,} to {last:,}", first=1, last=5000) == "Rows 1 to 5,000"
    assert [tn("{n} sample", "{n:,} samples", n) for n in (1, 2000)] == ["1 sample", "2,000 samples"]


def test_braces_in_a_value_stay_as_they_are():
    assert t("Named {name}", name="{0} {x}") == "Named {0} {x}"


@pytest.mark.parametrize("code", OTHERS)
def test_every_text_of_the_pages_and_below_them_is_translated(code):
    missing = {text: file for text, file in keys().items() if text not in catalogue(code)}
    assert not missing


@pytest.mark.parametrize("code", OTHERS)
def test_a_translation_names_the_same_values(code):
    for text, said in catalogue(code).items():
        assert names(said) <= names(text) | {"n"}, text


@pytest.mark.parametrize("code", OTHERS)
def test_catalogues_hold_nothing_that_is_not_asked_for_and_nothing_twice(code):
    seen: dict[str, Path] = {}
    for file in sorted((HERE / code).glob("*.po")):
        with file.open("rb") as opened:
            for key in (first(message.id) for message in read_po(opened, locale=code) if message.id):
                assert key not in seen, f"{key!r} stands in {file.name} and {seen[key].name}"
                seen[key] = file
    assert not set(seen) - set(asked()), "translated, but never said"


def test_nothing_is_told_in_the_browser_without_a_translation():
    assert list(untold()) == []


@pytest.mark.parametrize("code", OTHERS)
def test_an_error_is_told_with_its_values_in_the_holes(code):
    telling = Telling.of(catalogue(code))
    error = CorpusError("The corpus has no column 'a {0} b'.", fix="winnow score demo ifd")
    assert "'a {0} b'" in telling.told(error.message) != error.message
    assert telling.told(error.fix) == error.fix, "a command is typed as it is"
    assert telling.told("What nobody ever said.") == "What nobody ever said."


def test_values_may_change_their_order_and_stand_in_a_text_within_a_text():
    telling = Telling.of({"{0} has no part {1}: {2}.": "没有 {1}（{0}）：{2}。", "the file is {0}": "文件为 {0}"})
    assert telling.told("a has no part b c: the file is empty.") == "没有 b c（a）：文件为 empty。"


def test_a_template_of_few_words_takes_no_text_it_does_not_know_within():
    telling = Telling.of({"{0} is {1}.": "{0} 为 {1}。", "the day": "日期"})
    assert telling.told("the day is '3'.") == "日期 为 '3'。"
    assert telling.told("what it said is not so.") == "what it said is not so."


def test_the_template_with_the_most_words_is_taken():
    telling = Telling.of({"{0} is no model.": "A{0}", "{0} is no model: it has no {1}.": "B{0}{1}"})
    assert telling.told("x is no model: it has no y.") == "Bxy"


def test_a_long_text_that_nearly_fits_is_left_as_it_is():
    telling = Telling.of({"a{0}b{1}b{2}b{3}c": "{0}{1}{2}{3}"})
    assert telling.told("a" + "b" * 90_000) == "a" + "b" * 90_000


def test_templates_are_found_in_the_code_with_every_form_they_take():
    assert "The corpus has no column {0}." in templates.errors()
    assert {"{0}choose one of: none yet", "did you mean {0}? choose one of: {1}"} <= set(templates.errors())
    assert not templates.demanded("winnow embed {0}")


def test_two_threads_read_in_two_languages_at_once():
    both = threading.Barrier(len(LANGUAGES))
    said: dict[str, str] = {}

    def read(code: str) -> None:
        both.wait(timeout=30)
        said[code] = t("Overview")

    threads = [threading.Thread(target=read, args=(code,)) for code in LANGUAGES]
    for thread, code in zip(threads, LANGUAGES, strict=True):
        add_script_run_ctx(thread, a_run_of_its_own(code))
        thread.start()
    for thread in threads:
        thread.join()
    assert said == {"en": "Overview", "zh": "总览"}


def a_run_of_its_own(code: str) -> ScriptRunContext:
    """The run of a page by a reader of one language, as a server holds one for each of them.

    Not two `AppTest`s: each puts its own in the place of the process's one server, and takes it away from the other.
    """
    state = SafeSessionState(SessionState(), lambda: None)
    state[KEY] = code
    return ScriptRunContext(
        session_id=code,
        _enqueue=lambda _: None,
        query_string="",
        session_state=state,
        uploaded_file_mgr=MemoryUploadedFileManager("/upload"),
        main_script_path="",
        user_info={},
        fragment_storage=MemoryFragmentStorage(),
        pages_manager=PagesManager(""),
    )


def first(text) -> str:
    return text if isinstance(text, str) else text[0]


def names(text: str) -> set[str]:
    return {field.split(".")[0].split("[")[0] for _, field, _, _ in string.Formatter().parse(text) if field}

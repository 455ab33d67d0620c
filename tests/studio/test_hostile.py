"""Texts that want to be more than text are shown as text or refused with a message, and never run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from curation.corpus import Corpus
from curation.errors import WinnowError
from curation.ingestion import ingest
from curation.selection import select
from curation.selectors import Random
from studio import forms
from studio.app import SECTIONS
from studio.door import transfers
from tests.studio.hostile import HOSTILE, corpus_at
from tests.studio.pages import opener

PAGES = [place.address for places in SECTIONS.values() for place in places]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return corpus_at(tmp_path_factory.mktemp("hostile"))


@pytest.fixture
def open_page(corpus: Corpus, monkeypatch: pytest.MonkeyPatch):
    return opener(monkeypatch, corpus.path)


# -------------------------------------------------------------------- in data


def test_there_are_at_least_forty() -> None:
    assert len(set(HOSTILE)) >= 40


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_text_is_stored_as_it_is_and_plain_shows_it_as_it_is(corpus: Corpus, text: str) -> None:
    assert corpus.query("SELECT count(*) FROM samples WHERE contains(response, ?)", text).item()
    shown = forms.plain(text)
    for start in ("<", "![", "](", ":material", ":red[", "$"):
        assert not any(shown[at - 1 : at] != "\\" for at in places(shown, start[0]) if shown[at:].startswith(start))


def refusal(ask: Callable[[], object]) -> WinnowError | None:
    """The error of two lines with which it was refused; null where it was done."""
    try:
        ask()
    except WinnowError as error:
        return error
    return None


def places(text: str, letter: str) -> list[int]:
    return [at for at, found in enumerate(text) if found == letter]


@pytest.mark.parametrize("name", PAGES)
def test_every_page_of_a_corpus_full_of_them_opens(open_page, name: str) -> None:
    app = open_page(name)
    assert not app.exception
    for element in (*app.markdown, *app.caption, *app.title, *app.subheader):
        assert "<script>window" not in element.value.replace("\\<", "")
        assert not getattr(element, "allow_html", False) or "__pwned" not in element.value


def test_a_line_of_ten_megabytes_is_taken_and_its_page_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "long.jsonl"
    file.write_text(json.dumps({"instruction": "q", "output": "<b>" + "x" * 10_000_000}) + "\n" + "{" * 10_000_000)
    corpus = Corpus.create(tmp_path / "corpus")
    page = opener(monkeypatch, corpus.path)
    app = page("ingest").text_input(key="ingest_path").set_value(str(file)).run(timeout=60)
    assert not app.exception
    ingest(corpus, [file])
    assert corpus.count("len(response) > 10000000") == 1
    app = page("browse")
    assert not app.exception


# -------------------------------------------------------------------- in filters, addresses and names


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_filter_from_the_address_is_an_error_of_two_lines_or_finds_nothing(corpus: Corpus, text: str) -> None:
    before = corpus.query("SELECT count(*) FROM samples").item()
    refused = refusal(lambda: corpus.count(text))
    assert refused is None or (len(refused.message) < 1000 and refused.fix)
    assert corpus.query("SELECT count(*) FROM samples").item() == before


@pytest.mark.parametrize("name", ["browse", "score", "map", "history", "train"])
def test_whatever_the_address_says_the_page_opens(open_page, name: str) -> None:
    for text in (HOSTILE[0], HOSTILE[22]):
        asked = dict.fromkeys(
            ("where", "sample", "view", "page", "sort", "search", "q", "mix", "run", "language"), text
        )
        app = open_page(name, **asked)
        assert not app.exception, text


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_name_is_refused_or_is_only_a_name(corpus: Corpus, text: str) -> None:
    outside = {path.name for path in corpus.path.parent.iterdir()}
    if refusal(lambda: select(corpus, Random(), 2, name=text)) is None:
        assert len(corpus.selection(text).ids) == 2
        corpus.database.run(("DELETE FROM selections WHERE name = ?", [text]))
    assert {path.name for path in corpus.path.parent.iterdir()} == outside


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_an_uploads_name_stays_in_its_folder(text: str) -> None:
    try:
        name = transfers.clean_name(text + ".jsonl")
    except transfers.Refused:
        return
    assert "/" not in name
    assert not name.startswith(".")
    assert name.isprintable() or any(c.isspace() for c in name)
    assert len(name.encode()) <= 160


ATTACKS = (
    "(SELECT count(*) FROM read_csv('/etc/passwd')) > 0", "(SELECT count(*) FROM read_text('/etc/passwd')) > 0",
    "(SELECT count(*) FROM glob('/etc/*')) > 0", "(SELECT count(*) FROM '/etc/passwd') > 0", "getenv('HOME') <> ''",
    "(SELECT count(*) FROM 'http://evil.example/a.csv') > 0", "(SELECT count(*) FROM duckdb_settings()) > 0",
    "(SELECT count(*) FROM sqlite_scan('/tmp/a.db', 'b')) > 0", "true; DROP TABLE samples", "COPY samples TO '/tmp/x'",
    "ATTACH '/tmp/x.db'", "PRAGMA database_list", "SET memory_limit = '1TB'", "INSTALL httpfs",
    "EXPORT DATABASE '/tmp/x'",
    "(SELECT count(*) FROM enable_logging(storage = 'file', storage_path = '/tmp/x')) > 0",
    "(SELECT count(*) FROM query('DROP TABLE samples')) > 0", "(SELECT count(*) FROM force_checkpoint()) > 0",
    "true) UNION ALL SELECT 1 WHERE (true", "true) OR (true", "true) --", "(DELETE FROM samples) IS NULL",
    "length(repeat(instruction, 2000000000)) > 0", "lpad('x', 2000000000, 'x') <> ''", "sleep_ms(600000) IS NULL",
    "regexp_matches(instruction, '((a{1,1000}){1,1000}){1,1000}')", "(" * 5000 + "1" + ")" * 5000 + " = 1",
    "nextval('x') > 0", "write_log('x') IS NULL", "len(range(300000000)) > 0", "len(generate_series(0, 100)) > 0",
    "(SELECT count(*) FROM range(len(range(300000000)))) > 0", "levenshtein(response, instruction) > 0",
    "id IN ('" + "x" * 5_000_000 + "')", "bit_length(bitstring('1', 1000000000)) > 0",
    "format('{:>2000000000}', 'x') <> ''",
)  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
def test_sql_that_attacks_is_refused_in_two_lines_and_changes_nothing(corpus: Corpus, attack: str) -> None:
    before = corpus.count()
    for ask in (lambda: corpus.count(attack), lambda: corpus.frame(["id"], where=attack)):
        with pytest.raises(WinnowError) as refused:
            ask()
        assert len(refused.value.message) < 1000
    assert corpus.count() == before


@pytest.mark.parametrize(
    "endless",
    [
        "(SELECT count(*) FROM range(1000000000000) a, range(1000000000000) b) > 0",
        "(WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t) > 0",
    ],
)
def test_a_filter_that_never_ends_is_stopped(tmp_path: Path, endless: str) -> None:
    corpus = Corpus.create(tmp_path / "corpus")
    ingest(corpus, [_few(tmp_path)])
    corpus.database.patience = 0.5
    corpus.database.hold()
    try:
        with pytest.raises(WinnowError, match="took longer than"):
            corpus.count(endless)
        assert corpus.count() == 1
    finally:
        corpus.database.release()


def _few(folder: Path) -> Path:
    (folder / "few.jsonl").write_text('{"instruction": "q", "output": "a"}\n')
    return folder / "few.jsonl"


def test_conditions_that_only_read_the_corpus_still_work(corpus: Corpus) -> None:
    for where in (
        "id IN (SELECT id FROM selected WHERE name = 'drawn')", "len(tags) > 0 AND tags[1] LIKE '%script%'",
        "list_contains(tags, 'x') OR regexp_matches(instruction, '(?i)say')", "turns IN (FROM range(5))",
        "position % 2 = 0 AND instruction ILIKE '%a%' -- a remark", "response SIMILAR TO '.*'",
        "(SELECT max(s.turns) FROM everything s WHERE s.source = everything.source) = turns",
    ):  # fmt: skip
        assert corpus.count(where) >= 0

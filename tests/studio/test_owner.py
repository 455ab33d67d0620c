import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import polars as pl
import pytest

from curation.corpus import Corpus
from curation.errors import CorpusError
from curation.ingestion import ingest
from curation.storage.database import Answers, Owner, owner_of
from tests.curation.samples import corpus_of, pair
from tests.studio.pages import opener

ROOT = Path(__file__).resolve().parents[2]

STUDIO = """
import sys, time
from studio.owner import serve
corpus = serve(sys.argv[1])
print("serving", flush=True)
while True:
    time.sleep(0.1)
"""


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    corpus = Corpus.create(tmp_path / "c")
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"instruction": f"q{i}", "output": "a"}) + "\n" for i in range(50))
    )
    ingest(corpus, [tmp_path / "a.jsonl"])
    return corpus


@pytest.fixture
def studio(corpus: Corpus):
    process = start_studio(corpus)
    yield process
    process.kill()
    process.wait()


def start_studio(corpus: Corpus) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", STUDIO, str(corpus.path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "serving\n"
    return process


def test_a_command_asks_the_owner_and_sees_the_same_corpus(corpus: Corpus, studio) -> None:
    assert owner_of(corpus.path) is not None
    assert corpus.count("instruction = 'q7'") == 1
    assert corpus.frame(["messages"], limit=1)["messages"][0].to_list()[0]["content"] == "q0"


def test_a_command_writes_through_the_owner(corpus: Corpus, studio, tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text('{"instruction": "new", "output": "b", "tags": ["t"]}\n')
    assert ingest(corpus, [tmp_path / "b.jsonl"]).added == 1
    assert ingest(corpus, [tmp_path / "b.jsonl"]).added == 0
    assert corpus.count("list_contains(tags, 't')") == 1
    assert not list((corpus.path / "exchange").iterdir())


def test_errors_come_through_the_owner_as_the_same_two_lines(corpus: Corpus, studio) -> None:
    with pytest.raises(CorpusError, match="nonsense") as error:
        corpus.count("nonsense > 1")
    assert "instruction" in error.value.fix


def test_when_the_owner_is_killed_the_command_goes_on_by_itself(corpus: Corpus, studio) -> None:
    assert corpus.count() == 50
    studio.kill()
    studio.wait()
    assert corpus.count() == 50
    corpus.hold_out(corpus.frame(["id"], limit=2)["id"].to_list())
    assert corpus.count("held_out") == 2


def test_a_second_studio_on_the_same_corpus_is_refused(corpus: Corpus, studio) -> None:
    with pytest.raises(CorpusError, match="open in another studio"):
        corpus.database.hold()


@pytest.mark.parametrize("name", ["overview", "browse", "jobs"])
def test_a_page_of_a_corpus_that_another_studio_has_open_says_so_and_offers_another(
    corpus: Corpus, studio, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    app = opener(monkeypatch, corpus.path)(name)
    assert not app.exception
    assert "is open in another studio" in app.error[0].value
    assert app.text_input[0].label == "Corpus folder"


def test_a_page_of_a_corpus_whose_file_can_not_be_opened_says_so(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    (corpus.path / "corpus.duckdb").unlink()
    (corpus.path / "corpus.duckdb").mkdir()
    app = opener(monkeypatch, corpus.path)("browse")
    assert not app.exception
    assert app.error[0].value


def test_nobody_without_the_token_is_answered(corpus: Corpus, studio) -> None:
    owner = owner_of(corpus.path)
    assert owner is not None
    body = json.dumps({"statements": [["SELECT 1", []]], "frames": {}}).encode()
    for guess in ("guess", "é\xff", ""):
        request = urllib.request.Request(f"http://127.0.0.1:{owner.port}/run", body, {"Authorization": guess})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(request)
    assert (corpus.path / "owner.json").stat().st_mode & 0o077 == 0


def test_a_file_outside_the_exchange_folder_is_not_read(corpus: Corpus, studio, tmp_path: Path) -> None:
    pl.DataFrame({"a": [1]}).write_ipc(tmp_path / "x.arrow")
    owner = owner_of(corpus.path)
    assert owner is not None
    body = json.dumps({"statements": [["SELECT * FROM f", []]], "frames": {"f": "../../x.arrow"}}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{owner.port}/run", body, {"Authorization": owner.token})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request)


def test_what_a_dead_owner_left_behind_does_not_count(corpus: Corpus) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    Owner(gone.pid, 1, "t").write(corpus.path)
    assert owner_of(corpus.path) is None
    assert corpus.count() == 50


def test_two_writers_at_once_both_finish(corpus: Corpus, tmp_path: Path) -> None:
    files = []
    for name in ("one", "two"):
        files.append(tmp_path / f"{name}.jsonl")
        files[-1].write_text(
            "".join(json.dumps({"instruction": f"{name} {i}", "output": "a"}) + "\n" for i in range(2000))
        )
    commands = [
        subprocess.Popen(
            [sys.executable, "-m", "studio.cli", "ingest", str(corpus.path), str(f), "--json"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        for f in files
    ]
    reports = [json.loads(c.communicate(timeout=60)[0]) for c in commands]
    assert [r["added"] for r in reports] == [2000, 2000]
    assert corpus.count() == 4050


def test_a_reader_waits_while_a_writer_holds_the_file(corpus: Corpus) -> None:
    counted: list[int] = []
    code = f"from curation.corpus import Corpus\nprint(Corpus({str(corpus.path)!r}).count())"
    with corpus.database.held():
        reader = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        threading.Thread(target=lambda: counted.append(int(reader.communicate()[0]))).start()
        time.sleep(1.0)
        assert reader.poll() is None
    reader.wait(timeout=30)
    time.sleep(0.2)
    assert counted == [50]


def test_a_request_that_is_sent_again_is_done_once(corpus: Corpus) -> None:
    answers = Answers(corpus.database.hold(), corpus.path)
    body = json.dumps(
        {"request": "r1", "statements": [["INSERT INTO held_out VALUES ('x', now()::TIMESTAMP)", []]], "frames": {}}
    )
    assert answers.to(body.encode()) == answers.to(body.encode())
    assert corpus.query("SELECT count(*) AS n FROM held_out").item() == 1
    corpus.database.release()


def test_a_copy_of_an_open_corpus_is_a_corpus_of_its_own(tmp_path):
    corpus = corpus_of(tmp_path / "c", [pair("q", "a")])
    Owner(os.getppid(), 1, "t").write(corpus.path)
    copy = shutil.copytree(corpus.path, tmp_path / "copy")
    assert owner_of(corpus.path) is not None
    assert owner_of(copy) is None
    assert Corpus(copy).count() == 1

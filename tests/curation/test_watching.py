import json
import os
import threading
import time
from pathlib import Path

import pytest

from curation.corpus import Corpus
from curation.errors import CorpusError, IngestError
from curation.watching import WatchReport, watch


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus.create(tmp_path / "corpus")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def write(path: Path, *questions: str, old: bool = True) -> Path:
    path.write_text("".join(json.dumps({"instruction": q, "output": "a"}) + "\n" for q in questions))
    if old:  # a file that nobody has written to for an hour
        os.utime(path, (time.time() - 3600, time.time() - 3600))
    return path


def names(report: WatchReport) -> list[str]:
    return [Path(file.file).name for file in report.files]


def test_new_files_are_read_once_also_by_another_watch(corpus: Corpus, folder: Path) -> None:
    write(folder / "a.jsonl", "1", "2")
    write(folder / "b.jsonl", "2", "3")
    first = watch(corpus, folder, once=True)
    assert (names(first), first.added, first.duplicates) == (["a.jsonl", "b.jsonl"], 3, 1)
    assert watch(corpus, folder, once=True).files == ()


def test_a_file_that_grew_adds_only_its_new_rows(corpus: Corpus, folder: Path) -> None:
    write(folder / "a.jsonl", "1", "2")
    watch(corpus, folder, once=True)
    write(folder / "a.jsonl", "1", "2", "3")
    assert [(f.added, f.duplicates) for f in watch(corpus, folder, once=True).files] == [(1, 2)]
    assert corpus.query("SELECT count(*) AS n FROM duplicates").item() == 0


def test_the_same_content_under_another_name_is_not_read_again(corpus: Corpus, folder: Path) -> None:
    write(folder / "a.jsonl", "1")
    watch(corpus, folder, once=True)
    write(folder / "copy.jsonl", "1")
    assert watch(corpus, folder, once=True).files == ()


def test_a_fresh_file_is_read_after_one_quiet_interval(corpus: Corpus, folder: Path) -> None:
    write(folder / "a.jsonl", "1", old=False)
    begun = time.monotonic()
    assert watch(corpus, folder, once=True, every_seconds=0.3).added == 1
    assert time.monotonic() - begun > 0.25


def test_a_file_that_still_grows_is_left(corpus: Corpus, folder: Path) -> None:
    ended = threading.Event()

    def grow() -> None:
        while not ended.wait(0.02):
            with (folder / "a.jsonl").open("a") as file:
                file.write('{"instruction": "q", "output": "a"}\n')

    write(folder / "b.jsonl", "1")
    writer = threading.Thread(target=grow)
    writer.start()
    time.sleep(0.1)
    report = watch(corpus, folder, once=True, every_seconds=0.3)
    ended.set()
    writer.join()
    assert (names(report), report.unfinished) == (["b.jsonl"], (str(folder / "a.jsonl"),))


def test_hidden_unfinished_and_empty_files_and_the_corpus_itself_are_left_alone(tmp_path: Path) -> None:
    inside = Corpus.create(tmp_path / "corpus")
    for name in (".a.jsonl", "b.jsonl.part", "c.tmp", "corpus/d.jsonl", "e.jsonl"):
        write(tmp_path / name, name)
    (tmp_path / "f.jsonl").touch()
    (tmp_path / "g.jsonl").symlink_to(tmp_path / "nowhere")
    assert names(watch(inside, tmp_path, once=True, pattern="**/*")) == ["e.jsonl"]


def test_a_pattern_names_the_files(corpus: Corpus, folder: Path) -> None:
    (folder / "below").mkdir()
    for name in ("a.jsonl", "b.txt", "below/c.jsonl"):
        write(folder / name, name)
    assert names(watch(corpus, folder, once=True, pattern="*.jsonl")) == ["a.jsonl"]
    assert names(watch(corpus, folder, once=True, pattern="**/*.jsonl")) == ["c.jsonl"]


def test_a_file_that_can_not_be_read_costs_no_other_and_is_tried_again_when_it_changes(
    corpus: Corpus, folder: Path
) -> None:
    (folder / "a.jsonl").write_bytes(b"\x00\x01broken")
    os.utime(folder / "a.jsonl", (1e9, 1e9))
    write(folder / "b.jsonl", "1")
    told: list[object] = []
    report = watch(corpus, folder, once=True, arrived=told.append)
    assert (names(report), list(report.refused)) == (["b.jsonl"], [str(folder / "a.jsonl")])
    assert isinstance(told[0], IngestError)
    write(folder / "a.jsonl", "2")
    assert watch(corpus, folder, once=True).refused == {}
    assert corpus.count() == 2


def test_a_watch_goes_on_until_it_is_stopped(corpus: Corpus, folder: Path) -> None:
    stop, told = threading.Event(), threading.Semaphore(0)
    reports: list[WatchReport] = []
    watcher = threading.Thread(
        target=lambda: reports.append(
            watch(corpus, folder, every_seconds=0.05, stop=stop, arrived=lambda _: told.release())
        )
    )
    watcher.start()
    for name in ("a", "b", "a"):
        write(folder / f"{name}.jsonl", name, str(time.time()))
        assert told.acquire(timeout=10)
    stop.set()
    watcher.join(10)
    assert reports[0].added == 5


def test_a_folder_that_is_not_there_and_a_wrong_interval_are_refused(corpus: Corpus, folder: Path) -> None:
    with pytest.raises(IngestError, match="no folder"):
        watch(corpus, folder / "x", once=True)
    with pytest.raises(CorpusError, match="every 0 s"):
        watch(corpus, folder, once=True, every_seconds=0)
    with pytest.raises(CorpusError, match="does not work"):
        watch(corpus, folder, once=True, pattern="/etc/*")

"""Files outside the workspace are neither read nor written from a page; others come in and go out by their routes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

from curation.corpus import Corpus
from curation.errors import WinnowError
from studio import jobs
from studio.door import sessions, transfers, workspace
from studio.door.gate import Gate
from studio.pages.ingest import matching
from tests.studio.pages import opener


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with a corpus, a file inside, a file outside, and a link from in to out."""
    inside, outside = tmp_path / "work", tmp_path / "elsewhere"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "rows.jsonl").write_text('{"instruction": "q", "output": "a"}\n')
    (outside / "model").mkdir()
    (inside / "link.jsonl").symlink_to(outside / "rows.jsonl")
    (inside / "way_out").symlink_to(outside)
    monkeypatch.chdir(inside)
    monkeypatch.setenv(workspace.VARIABLE, str(inside))
    monkeypatch.setenv("WINNOW_CORPUS", str(inside / "corpus"))
    Corpus.create(inside / "corpus")
    return inside


OUTSIDE = (
    "{out}/rows.jsonl", "../elsewhere/rows.jsonl", "{work}/../elsewhere/rows.jsonl", "{work}/link.jsonl", "link.jsonl",
    "way_out/rows.jsonl", "{work}/way_out", "/etc/passwd", "~/.ssh/id_rsa", "~root/x", "/proc/self/environ", "/",
)  # fmt: skip


def named(path: str, work: Path) -> str:
    return path.format(work=work, out=work.parent / "elsewhere")


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_path_that_leads_out_is_refused_with_the_way_to_widen_the_workspace(place: Path, path: str) -> None:
    with pytest.raises(WinnowError, match="outside the workspace") as refused:
        workspace.inside(named(path, place))
    assert "--workspace" in refused.value.fix


@pytest.mark.parametrize("path", ["rows.jsonl", "corpus/mixes/new", "a/b/c.jsonl", "./rows.jsonl", "way_out/../x"])
def test_a_path_inside_is_taken_whether_it_exists_or_not(place: Path, path: str) -> None:
    if path == "way_out/../x":  # the folder above where the link leads
        with pytest.raises(WinnowError):
            workspace.inside(path)
    else:
        assert workspace.inside(path) == place / path


@pytest.mark.parametrize("typed", [*OUTSIDE, "../*/rows.jsonl", "**/../../elsewhere/*", "/etc/*", "/e*/passwd", "~/*"])
def test_what_is_typed_on_ingest_finds_no_file_outside(place: Path, typed: str) -> None:
    with pytest.raises(WinnowError):
        matching(named(typed, place))


@pytest.mark.parametrize("name", [".env", ".ssh/id_rsa", "corpus/owner.json", "corpus/sessions.json"])
def test_keys_in_the_workspace_are_not_read(place: Path, name: str) -> None:
    (place / name).parent.mkdir(exist_ok=True)
    (place / name).write_text('{"token": "secret"}')
    for ask in (lambda: matching(name), lambda: workspace.check_command(["ingest", str(place / "corpus"), name])):
        with pytest.raises(WinnowError, match="hidden file"):
            ask()
    assert workspace.is_inside(place / "corpus" / "corpus.duckdb")


def test_a_corpus_in_a_hidden_folder_is_in_reach(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_CORPUS", str(place / ".hidden" / "corpus"))
    assert workspace.is_inside(place / ".hidden" / "corpus" / "mixes" / "best")
    assert not workspace.is_inside(place / ".hidden" / "other")


def test_a_pattern_passes_over_links_that_lead_out(place: Path) -> None:
    assert [path.name for path in matching("*.jsonl")] == ["rows.jsonl"]


COMMANDS = (
    ["ingest", "CORPUS", "OUT/rows.jsonl"],
    ["ingest", "CORPUS", "rows.jsonl", "../elsewhere/rows.jsonl"],
    ["watch", "CORPUS", "OUT", "--once"],
    ["export", "CORPUS", "best", "OUT/mix", "--part", "drawn"],
    ["train", "OUT/mix", "--base-model", "Qwen/Qwen3-0.6B"],
    ["train", "corpus/mixes/best", "--base-model", "OUT/model"],
    ["train", "corpus/mixes/best", "--base-model", "/etc"],
    ["evaluate", "corpus/runs/first", "--prompts", "OUT/rows.jsonl"],
    ["export-model", "corpus/runs/first", "OUT/merged"],
    ["score", "CORPUS", "ifd", "--set", "model=hf:OUT/model"],
    ["score", "CORPUS", "importance", "--set", "target=OUT/rows.jsonl"],
    ["score", "CORPUS", "contamination", "--set", "benchmarks=rows.jsonl,OUT/rows.jsonl"],
    ["score", "CORPUS", "OUT/own_scorer.py"],
    ["select", "CORPUS", "../elsewhere/own.py", "10%"],
    ["embed", "CORPUS", "--model", "sentence-transformers:OUT/model"],
    ["embed", "CORPUS", "--vectors", "OUT/vectors.npy", "--by", "n"],
    ["synthesize", "CORPUS", "distill", "--model", "replay:OUT/rows.jsonl"],
    ["synthesize", "CORPUS", "distill", "--model", "replay:way_out/rows.jsonl"],
    ["score", "OUT/corpus", "length"],
    ["snapshot", "../elsewhere/corpus", "s"],
    # Two slashes at the start are one to the system; an address is only what is fetched or asked.
    ["ingest", "CORPUS", "/OUT/rows.jsonl"],
    ["ingest", "CORPUS", "x://../../elsewhere/rows.jsonl"],
    ["export", "CORPUS", "/OUT/mix", "--part", "drawn"],
    ["export", "CORPUS", "http://../../elsewhere/mix", "--part", "drawn"],
    ["score", "CORPUS", "/OUT/own_scorer.py"],
    ["score", "CORPUS", "ifd", "--set", "model=hf:///OUT/model"],
    ["score", "CORPUS", "importance", "--set", "target=/OUT/rows.jsonl"],
    ["score", "CORPUS", "contamination", "--set", "benchmarks=rows.jsonl\n,OUT/rows.jsonl"],
    ["synthesize", "CORPUS", "distill", "--model", "replay:/OUT/rows.jsonl"],
    ["synthesize", "CORPUS", "distill", "--model", "where:OUT/rows.jsonl"],
)


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[:4]))
def test_a_command_of_a_page_that_names_a_file_outside_is_not_started(place: Path, words: list[str]) -> None:
    argv = [w.replace("CORPUS", str(place / "corpus")).replace("OUT", str(place.parent / "elsewhere")) for w in words]
    with pytest.raises(WinnowError, match="outside the workspace"):
        workspace.check_command(argv)


@pytest.mark.parametrize(
    "words",
    [
        ["ingest", "CORPUS", "rows.jsonl", "--source", "a/b", "--map", "response=/data/x"],
        ["ingest", "CORPUS", "https://example.org/rows.jsonl", "hf://datasets/owner/name/rows.jsonl"],
        ["score", "CORPUS", "length", "--where", "instruction LIKE '%/etc/passwd%' OR source = '../x'"],
        ["select", "CORPUS", "random", "10%", "--name", "r"],
        ["train", "corpus/mixes/best", "--base-model", "Qwen/Qwen3-0.6B"],
        ["score", "CORPUS", "ifd", "--set", "model=hf:Qwen/Qwen3-0.6B"],
        ["embed", "CORPUS", "--model", "sentence-transformers:BAAI/bge-m3"],
        ["synthesize", "CORPUS", "distill", "--model", "http://127.0.0.1:8000/v1#Qwen/Qwen3-8B"],
        ["synthesize", "CORPUS", "distill", "--model", "vllm:Qwen/Qwen3-8B", "--set", "system=/no_think Be brief."],
        ["synthesize", "CORPUS", "distill", "--model", "http://127.0.0.1:8000/v1#/models/base"],
        ["synthesize", "CORPUS", "distill", "--model", "demo", "--set", "system=Be brief.\n~~~\na / b // c\n~~~\n"],
        ["drop", "CORPUS", "--where", "true", "--reason", "see ../notes and /etc/hosts"],
        ["export", "CORPUS", "best", "--part", "where:instruction LIKE '/etc/%'"],
    ],
    ids=lambda words: " ".join(words[:4]),
)
def test_a_command_that_stays_inside_is_started(place: Path, words: list[str]) -> None:
    workspace.check_command([w.replace("CORPUS", str(place / "corpus")) for w in words])
    assert jobs.jobs(place / "corpus") == []


def test_a_forged_job_of_a_page_is_refused_and_a_terminal_may_do_as_it_likes(place: Path) -> None:
    outside = str(place.parent / "elsewhere" / "rows.jsonl")
    app = AppTest.from_string(
        f"""
import streamlit as st
from curation.errors import WinnowError
from studio import jobs
try:
    jobs.start({str(place / "corpus")!r}, ["ingest", {str(place / "corpus")!r}, {outside!r}])
except WinnowError as error:
    st.text(error.message)
"""
    ).run()
    assert "outside the workspace" in app.text[0].value
    workspace.in_reach(["ingest", "corpus", outside], place / "corpus")


def test_another_corpus_is_opened_only_in_the_workspace(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opener(monkeypatch, place / "corpus")
    elsewhere = Corpus.create(place.parent / "elsewhere" / "corpus").path
    app = page("settings")
    app.text_input(key="settings_path").set_value(str(elsewhere))
    app = next(b for b in app.button if b.label == "Open").click().run()
    assert "outside the workspace" in str(app.error[0].value).replace("\\", "")
    assert "corpus_path" not in app.session_state


# -------------------------------------------------------------------- files that come in


@pytest.fixture
def client(place: Path) -> TestClient:
    return TestClient(
        Gate(Starlette(routes=transfers.routes()), sessions.current), base_url="http://127.0.0.1:8501",
        follow_redirects=False,
    )  # fmt: skip


def uploaded(client: TestClient, corpus: Path, name: str, content: object = b"x", **headers: str):
    params = {"ticket": transfers.upload_ticket(corpus), "name": name}
    return client.put(transfers.UPLOAD, params=params, content=content, headers=headers)


def test_an_uploaded_file_lies_in_the_corpus_and_the_same_one_lies_there_once(client: TestClient, place: Path) -> None:
    corpus = place / "corpus"
    assert uploaded(client, corpus, "数据.jsonl", b"a" * 5_000_000).json() == {"name": "数据.jsonl", "bytes": 5_000_000}
    assert uploaded(client, corpus, "数据.jsonl", b"a" * 5_000_000).json()["name"] == "数据.jsonl"
    other = uploaded(client, corpus, "数据.jsonl", b"b").json()["name"]
    assert sorted(p.name for p in (corpus / "uploads").iterdir()) == sorted(["数据.jsonl", other])
    assert other.endswith("-数据.jsonl")


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("../../../etc/cron.d/x.jsonl", "x.jsonl"), ("C:\\Windows\\evil.csv", "evil.csv"), (".hid.json", "hid.json"),
        ("a\x00b\n.txt", "ab.txt"), ("\u202egpj.jsonl", "gpj.jsonl"), ("zero\u200bwidth.json", "zerowidth.json"),
        ("<img src=x onerror=alert(1)>.csv", "<img src=x onerror=alert(1)>.csv"), ("👩‍👩‍👧.json.gz", "👩👩👧.json.gz"),
        ("é" * 400 + ".jsonl.zst", "é" * 70 + ".jsonl.zst"),
    ],
)  # fmt: skip
def test_the_name_of_an_upload_is_its_last_part_and_printable(name: str, stored: str) -> None:
    assert transfers.clean_name(name) == stored


@pytest.mark.parametrize("name", ["", ".", "..", "/", "a.py", "a.sh", "a.html", "a.svg", ".jsonl", "a.json.exe", "a/"])
def test_what_can_not_be_read_as_data_is_not_taken(client: TestClient, place: Path, name: str) -> None:
    assert uploaded(client, place / "corpus", name).status_code == 415
    assert not list((place / "corpus").glob("uploads/*"))


def test_an_upload_is_bounded_whatever_it_announces(
    client: TestClient, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(transfers.MOST, str(1 / 1024))  # a MiB

    def endless():
        for _ in range(100):
            yield b"x" * 100_000

    assert uploaded(client, place / "corpus", "a.jsonl", b"x" * 2_000_000).json() == {"refused": "size"}
    assert uploaded(client, place / "corpus", "a.jsonl", endless()).json() == {"refused": "size"}
    assert uploaded(client, place / "corpus", "a.jsonl", b"").json() == {"refused": "empty"}
    assert not list((place / "corpus" / "uploads").iterdir())


def test_two_that_arrive_at_once_under_one_name_both_stay(place: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    folder = place / "corpus"
    for number in range(8):
        (folder / f".arriving-{number}").write_text(str(number))
    with ThreadPoolExecutor(8) as arriving:
        found = list(
            arriving.map(
                lambda n: transfers._settle(folder / f".arriving-{n}", folder / "a.jsonl", hex(n)[2:] * 64), range(8)
            )
        )
    assert sorted(path.read_text() for path in found) == [str(number) for number in range(8)]


def test_a_full_disk_is_said_before_it_is_full(
    client: TestClient, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "SPARE_BYTES", 1 << 60)
    assert uploaded(client, place / "corpus", "a.jsonl").json() == {"refused": "disk"}


def test_a_folder_that_can_not_be_written_to_is_said(client: TestClient, place: Path) -> None:
    (place / "corpus" / "uploads").write_text("a file where the folder should be")
    assert uploaded(client, place / "corpus", "a.jsonl").json() == {"refused": "disk"}


def test_nobody_uploads_without_a_ticket_or_as_a_viewer(
    client: TestClient, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = transfers.upload_ticket(place / "corpus")
    for forged in ("", "x", ticket[:-2] + "AA", json.dumps({"into": str(place)})):
        answer = client.put(transfers.UPLOAD, params={"ticket": forged, "name": "a.jsonl"}, content=b"x")
        assert answer.json() == {"refused": "ticket"}
    monkeypatch.setenv("WINNOW_PASSWORD", "sesame")
    monkeypatch.setenv("WINNOW_VIEWER_PASSWORD", "look")
    assert uploaded(client, place / "corpus", "a.jsonl").status_code == 401
    client.post("/login", data={"password": "look"})
    assert uploaded(client, place / "corpus", "a.jsonl").json() == {"refused": "viewer"}
    client.post("/login", data={"password": "sesame"})
    client.cookies.clear()
    client.post("/login", data={"password": "sesame"})
    assert uploaded(client, place / "corpus", "a.jsonl").status_code == 200


# -------------------------------------------------------------------- files that go out


def test_only_files_of_mixes_are_handed_out(client: TestClient, place: Path) -> None:
    corpus = place / "corpus"
    (corpus / "mixes" / "best").mkdir(parents=True)
    (corpus / "mixes" / "best" / "train.jsonl").write_text("{}\n")
    (corpus / "mixes" / "out.jsonl").symlink_to(place.parent / "elsewhere" / "rows.jsonl")
    answer = client.get(transfers.download_address(corpus, corpus / "mixes" / "best" / "train.jsonl"))
    assert answer.text == "{}\n"
    assert answer.headers["content-disposition"].startswith('attachment; filename="train.jsonl"')
    for path in ("corpus.duckdb", "mixes/../sessions.json", "mixes/out.jsonl", "mixes", "../rows.jsonl"):
        with pytest.raises(WinnowError, match="is no file of the corpus' mixes"):
            transfers.download_address(corpus, corpus / path)
    assert client.get(transfers.DOWNLOAD, params={"ticket": transfers.upload_ticket(corpus)}).status_code == 404
    assert client.get(f"{transfers.DOWNLOAD}?file=/etc/passwd").status_code == 404

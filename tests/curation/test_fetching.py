"""Files that lie elsewhere, over a real server on this machine."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from curation.errors import IngestError
from curation.files import fetching
from curation.files.fetching import Located, fetched, located

ROWS = b"".join(json.dumps({"instruction": f"q{i}", "output": "a" * 50}).encode() + b"\n" for i in range(2000))


class Web(http.server.BaseHTTPRequestHandler):
    """One file at /rows.jsonl, with ranges and a version; other paths show what else a server does."""

    protocol_version = "HTTP/1.1"
    body = ROWS
    etag: str | None = '"1"'
    break_after: int | None = None
    asked: list[tuple[str, str | None]] = []  # noqa: RUF012

    def do_HEAD(self) -> None:
        self.answer(200, b"", **{"Content-Length": str(len(self.body))})

    def do_GET(self) -> None:
        wanted = self.headers["Range"]
        type(self).asked.append((self.path, wanted or self.headers["If-None-Match"]))
        if self.path == "/moved":
            self.answer(302, b"", Location="/rows.jsonl")
        elif self.path == "/round":
            self.answer(302, b"", Location="/round")
        elif self.path == "/to-a-file":
            self.answer(302, b"", Location="file:///etc/passwd")
        elif self.path == "/page":
            self.answer(200, b"<html>", **{"Content-Type": "text/html"})
        elif self.path.startswith("/api/datasets/o/n/tree/"):
            listing = [{"type": "file", "path": p, "oid": "1", "size": len(ROWS)} for p in HUB]
            self.answer(200, json.dumps(listing).encode(), **{"Content-Type": "application/json"})
        elif "rows" not in self.path:
            self.answer(404, b"")
        elif self.headers["If-None-Match"] == self.etag and self.etag:
            self.answer(304, b"")
        elif wanted and self.etag and self.headers["If-Range"] == self.etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            self.answer(206, self.body[start:], **{"Content-Range": f"bytes {start}-/{len(self.body)}"})
        else:
            self.answer(200, self.body)

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {
            "ETag": self.etag,
            "Content-Length": str(len(body)),
            "X-Repo-Commit": "c" * 40,
            **headers,
        }.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        stop, type(self).break_after = self.break_after, None
        self.wfile.write(body[:stop])
        if stop is not None:
            self.close_connection = True
            self.connection.close()

    def log_message(self, *_: object) -> None:
        pass


HUB = ["README.md", "data/rows-0.jsonl", "data/rows-1.jsonl"]


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Web, "asked", [])
    for name, value in (("body", ROWS), ("etag", '"1"'), ("break_after", None)):
        monkeypatch.setattr(Web, name, value)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_file_keeps_its_name_and_says_where_it_came_from(web: str, tmp_path: Path) -> None:
    (found,) = located(f"{web}/sub/my%20rows.jsonl?v=1", tmp_path)
    assert (found.path.name, found.origin) == ("my_rows.jsonl", f"{web}/sub/my%20rows.jsonl?v=1")
    assert found.path.read_bytes() == ROWS


def test_a_path_is_left_alone(tmp_path: Path) -> None:
    assert located("a/b.jsonl", tmp_path) == (Located(Path("a/b.jsonl"), "a/b.jsonl"),)


def test_what_broke_off_goes_on_where_it_stopped(web: str, tmp_path: Path) -> None:
    Web.break_after = 30_000
    assert fetched(f"{web}/rows.jsonl", tmp_path).read_bytes() == ROWS
    assert Web.asked == [("/rows.jsonl", None), ("/rows.jsonl", "bytes=30000-")]


def test_a_killed_fetch_goes_on_unless_the_file_is_another_by_then(web: str, tmp_path: Path) -> None:
    path = fetched(f"{web}/rows.jsonl", tmp_path)
    path.rename(path.with_name(".rows.jsonl.partial"))
    path.with_name(".rows.jsonl.partial").write_bytes(ROWS[:1000])
    Web.body, Web.etag = b"new" * 1000, '"2"'
    assert fetched(f"{web}/rows.jsonl", tmp_path).read_bytes() == b"new" * 1000
    assert [asked for _, asked in Web.asked] == [None, "bytes=1000-"]


def test_without_a_version_a_broken_fetch_begins_again(web: str, tmp_path: Path) -> None:
    Web.etag, Web.break_after = None, 30_000
    assert fetched(f"{web}/rows.jsonl", tmp_path).read_bytes() == ROWS
    assert [asked for _, asked in Web.asked] == [None, None]


def test_an_unchanged_file_is_not_fetched_again(web: str, tmp_path: Path) -> None:
    assert fetched(f"{web}/rows.jsonl", tmp_path) == fetched(f"{web}/rows.jsonl", tmp_path)
    assert [asked for _, asked in Web.asked] == [None, '"1"']


def test_a_changed_file_is_fetched_again(web: str, tmp_path: Path) -> None:
    fetched(f"{web}/rows.jsonl", tmp_path)
    Web.body, Web.etag = b"other", '"2"'
    assert fetched(f"{web}/rows.jsonl", tmp_path).read_bytes() == b"other"


def test_a_redirect_is_followed(web: str, tmp_path: Path) -> None:
    assert fetched(f"{web}/moved", tmp_path).read_bytes() == ROWS


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/nowhere", "404 Not Found"),
        ("/page", "is a web page"),
        ("/round", "redirects in a circle"),
        ("/to-a-file", "away from the web"),
    ],
)
def test_what_is_no_file_is_refused_in_two_lines(web: str, tmp_path: Path, path: str, reason: str) -> None:
    with pytest.raises(IngestError, match=reason) as error:
        fetched(web + path, tmp_path)
    assert "\n" not in error.value.message + error.value.fix
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.name != "about.json"]


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("file:///etc/passwd", "file is not supported"),
        ("ftp://host/a", "ftp is not supported"),
        ("https://me:secret@host/a.jsonl", "name or password"),
        ("https://host:99999/a", "no address"),
        ("https:///a.jsonl", "no address"),
        ("https://host/a b", "no address"),
        ("https://nowhere.invalid/a.jsonl", "can't be reached: the name of the host is not known"),
        ("http://127.0.0.1:9/a.jsonl", "can't be reached"),
        ("hf://models/a/b/c", "no file of a data set"),
    ],
)
def test_addresses_that_lead_nowhere_are_refused_at_once(tmp_path: Path, spec: str, reason: str) -> None:
    with pytest.raises(IngestError, match=reason) as error:
        located(spec, tmp_path)
    assert "secret" not in error.value.message


def test_a_file_over_the_limit_is_refused_before_it_is_fetched(
    web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "MOST_BYTES", 1000)
    with pytest.raises(IngestError, match="1,000 is the limit"):
        fetched(f"{web}/rows.jsonl", tmp_path)


def test_a_silent_server_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(fetching, "WAIT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(IngestError, match="no answer within"):
        fetched(f"http://127.0.0.1:{silent.getsockname()[1]}/a.jsonl", tmp_path)


HUB_SCRIPT = """
import sys
from pathlib import Path
from curation.errors import WinnowError
from curation.files.fetching import located
try:
    for found in located(sys.argv[1], Path(sys.argv[2])):
        print(found.origin, found.path.relative_to(sys.argv[2]), found.path.stat().st_size)
except WinnowError as error:
    print(error.message, "|", error.fix)
"""


def from_hub(endpoint: str, spec: str, folder: Path) -> list[str]:
    # The library reads its endpoint when it is imported: a process of its own.
    import os
    import subprocess
    import sys

    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", HUB_SCRIPT, spec, str(folder / "d")],
        env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert not done.stderr, done.stderr
    return done.stdout.splitlines()


def test_the_files_of_a_data_set_that_a_pattern_names_are_fetched(web: str, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub", reason="comes with winnow-studio[models]")
    assert from_hub(web, "hf://datasets/o/n/data/*.jsonl", tmp_path) == [
        f"hf://datasets/o/n/data/rows-{i}.jsonl o-n-main/data/rows-{i}.jsonl {len(ROWS)}" for i in range(2)
    ]


def test_a_hub_that_lacks_the_file_or_does_not_answer_is_two_lines(web: str, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub", reason="comes with winnow-studio[models]")
    (lacks,) = from_hub(web, "hf://datasets/o/n/data/*.csv", tmp_path)
    assert "choose from: README.md, data/rows-0.jsonl" in lacks
    (silent,) = from_hub("http://127.0.0.1:9", "hf://datasets/o/n/data/*.csv", tmp_path)
    assert "can't be fetched: http://127.0.0.1:9: Connection refused." in silent

"""The studio's side of the corpus database: it keeps the file open and runs what others send over loopback."""

from __future__ import annotations

import atexit
import contextlib
import hmac
import os
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from curation.corpus import Corpus
from curation.storage.database import OWNER, Answers, Owner, owner_of
from studio.door.access import require_editor

READ_SECONDS = 30.0
"""How long a page waits for what it asks of the database: a filter that takes longer is stopped."""

_served: dict[Path, Corpus] = {}
_serving = threading.Lock()


def serve(path: Path | str) -> Corpus:
    """Open a corpus in this process and keep it open until the process ends; opening it again gives the same one.

    Raises:
        CorpusError: there is no corpus, or another studio has it open.
    """
    with _serving:
        corpus = Corpus(path)
        if corpus.path not in _served:
            # What pages ask for; commands in a terminal ask from a thread of their own, and may take their time.
            corpus.database.patience = READ_SECONDS
            corpus.database.before_writing = require_editor
            connection = corpus.database.hold()
            token = secrets.token_urlsafe(32)
            server = ThreadingHTTPServer(
                ("127.0.0.1", 0), _answering(Answers(connection, corpus.path, corpus.database.narrow), token)
            )
            threading.Thread(target=server.serve_forever, daemon=True, name="corpus owner").start()
            Owner(os.getpid(), server.server_address[1], token).write(corpus.path)
            atexit.register(_leave, corpus.path, server)
            _served[corpus.path] = corpus
        return _served[corpus.path]


def _leave(folder: Path, server: ThreadingHTTPServer) -> None:
    owner = owner_of(folder)
    if owner is not None and owner.pid == os.getpid():
        with contextlib.suppress(OSError):
            (folder / OWNER).unlink()
    server.shutdown()
    server.server_close()
    _served.pop(folder).database.release()


def _answering(answers: Answers, token: str) -> type[BaseHTTPRequestHandler]:
    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply(200 if self._may_ask() else 403, b"")

        def do_POST(self) -> None:
            if not self._may_ask():  # and what was sent is not even read
                self.close_connection = True
                self._reply(403, b"")
                return
            self._reply(*answers.to(self.rfile.read(int(self.headers.get("Content-Length") or 0))))

        def _may_ask(self) -> bool:
            given = self.headers.get("Authorization") or ""
            return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())

        def _reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class names it so)
            """Say nothing: stderr is the studio's log."""

    return Answering

"""Files that come in from a browser and go out to it: from disk to disk, however large, past the memory of the pages.

A page hands out a ticket, signed and for some hours, that says for which folder or file it is. The routes ask for the
ticket, and, where there is a login, for the session, too.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import threading
import time
import unicodedata
import uuid
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from curation.errors import WinnowError
from curation.files.reading import TEXTS
from studio.door import sessions
from studio.door.access import Role

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

UPLOAD, DOWNLOAD = "/files/upload", "/files/download"
FOLDER = "uploads"
"""Of a corpus, for what was uploaded."""

SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".gz", ".zst")
TAKEN = (*SUFFIXES, *TEXTS)
"""How the name of an uploaded file ends; a program is not among them."""

OFFERED = ("mixes", "exports", "runs")
"""Folders of a corpus whose files may be downloaded."""

MOST = "WINNOW_MAX_UPLOAD_GIB"
DEFAULT_GIB = 4.0
SPARE_BYTES = 256 << 20
"""Disk space that stays free."""

PIECE = 4 << 20
"""Bytes that are written at a time."""

NAME_BYTES = 150
TICKET_SECONDS = 12 * 3600
PARTIAL = ".arriving-"
STALE_SECONDS = 24 * 3600
"""After which what an interrupted upload left behind is removed."""


_settling = threading.Lock()


class Refused(Exception):
    """An upload that is not taken: a word for the page, which says it in the reader's language, and a status."""

    def __init__(self, word: str, status: int) -> None:
        super().__init__(word)
        self.word, self.status = word, status


@dataclass(frozen=True)
class Arrived:
    """An uploaded file on disk."""

    path: Path
    bytes: int


def most_bytes() -> int:
    """How large an uploaded file may be."""
    try:
        gib = float(os.environ.get(MOST, DEFAULT_GIB))
    except ValueError:
        gib = DEFAULT_GIB
    return int(gib * (1 << 30))


def most_told() -> str:
    """How large an uploaded file may be, as a person says it."""
    return f"{most_bytes() / (1 << 30):,.3g} GiB"


def clean_name(name: str) -> str:
    """The name under which an uploaded file is stored: the last part of what the browser calls it, and printable.

    Raises:
        Refused: nothing is left of it, or it does not end like a file that can be read.
    """
    last = PurePosixPath(name.replace("\\", "/")).name
    printable = "".join(c for c in unicodedata.normalize("NFC", last) if unicodedata.category(c)[0] != "C")
    printable = printable.strip().lstrip(".").strip()
    lower = printable.lower()
    suffix = next((s for s in TAKEN if lower.endswith(s)), None)
    if suffix is None or not printable[: -len(suffix)]:
        raise Refused("kind", 415)
    # `data.json.gz` keeps both of its endings.
    inner = next((s for s in TAKEN if lower.removesuffix(suffix).endswith(s)), "")
    ending = printable[-len(suffix + inner) :]
    stem = printable[: -len(ending)].encode()[: NAME_BYTES - len(ending)].decode("utf-8", "ignore") or "file"
    return stem + ending


def upload_ticket(corpus: Path) -> str:
    """What a page gives to a browser that may upload into a corpus."""
    return sessions.current().signed({"into": str(corpus)})


def download_address(corpus: Path, path: Path) -> str:
    """Where a browser finds a file of the corpus' mixes, exports or runs; for some hours.

    Raises:
        WinnowError: the file lies elsewhere.
    """
    from urllib.parse import urlencode

    real = _offered(corpus, path)
    return f"{DOWNLOAD}?{urlencode({'ticket': sessions.current().signed({'of': str(corpus), 'file': str(real)})})}"


def download_link(corpus: Path, path: Path, label: str, *, help: str | None = None) -> None:  # noqa: A002
    """Draw a button that downloads a file of the corpus' mixes, exports or runs, however large it is.

    Raises:
        WinnowError: the file lies elsewhere.
    """
    import streamlit as st

    st.link_button(label, download_address(corpus, path), icon=":material/download:", help=help)


def _offered(corpus: Path, path: Path) -> Path:
    real, folder = Path(path).resolve(), Path(corpus).resolve()
    if not real.is_file() or not any(real.is_relative_to(folder / name) for name in OFFERED):
        raise WinnowError(f"{path} is no file of the corpus' mixes.", fix="choose a file of an exported mix")
    return real


# -------------------------------------------------------------------- routes


def routes() -> list[BaseRoute]:
    """The two routes."""
    from starlette.routing import Route

    return [Route(UPLOAD, _upload, methods=["PUT"]), Route(DOWNLOAD, _download, methods=["GET"])]


async def _upload(request: Request) -> Response:
    from starlette.requests import ClientDisconnect
    from starlette.responses import JSONResponse, Response

    try:
        folder = _allowed_folder(request)
        arrived = await _received(request, folder, clean_name(request.query_params.get("name", "")))
    except Refused as refusal:
        return JSONResponse({"refused": refusal.word}, refusal.status)
    except ClientDisconnect:
        return Response(status_code=400)
    except OSError:
        return JSONResponse({"refused": "disk"}, 507)
    return JSONResponse({"name": arrived.path.name, "bytes": arrived.bytes})


def _allowed_folder(request: Request) -> Path:
    here = sessions.current()
    if here.needed:
        person = here.person(request.cookies)
        if person is None or person.role is not Role.EDITOR:
            raise Refused("viewer", 403)
    told = here.told(request.query_params.get("ticket", ""), TICKET_SECONDS)
    if told is None or not isinstance(told.get("into"), str):
        raise Refused("ticket", 403)
    return Path(told["into"]) / FOLDER


async def _received(request: Request, folder: Path, name: str) -> Arrived:
    from starlette.concurrency import run_in_threadpool

    try:
        announced = int(request.headers.get("content-length") or 0)
    except ValueError:
        announced = 0
    folder.mkdir(exist_ok=True)
    _check_room(folder, announced)
    _sweep(folder)
    partial = folder / f"{PARTIAL}{uuid.uuid4().hex}"
    digest, total, held = hashlib.sha256(), 0, bytearray()
    try:
        with partial.open("wb") as file:
            async for piece in request.stream():
                total += len(piece)
                if total > most_bytes():
                    raise Refused("size", 413)
                held += piece
                if len(held) >= PIECE:
                    await run_in_threadpool(_write, file, digest, held)
                    _check_room(folder, 0)
                    held = bytearray()
            await run_in_threadpool(_write, file, digest, held)
        if not total:
            raise Refused("empty", 400)
        return Arrived(await run_in_threadpool(_settle, partial, folder / name, digest.hexdigest()), total)
    finally:
        partial.unlink(missing_ok=True)


def _write(file: BinaryIO, digest: Any, held: bytearray) -> None:
    digest.update(held)
    file.write(held)


def _check_room(folder: Path, coming: int) -> None:
    if coming > most_bytes():
        raise Refused("size", 413)
    if shutil.disk_usage(folder).free - coming < SPARE_BYTES:
        raise Refused("disk", 507)


def _settle(partial: Path, path: Path, digest: str) -> Path:
    """Give a file its name; what lies there already and is another file keeps its own."""
    for place in (path, path.with_name(f"{digest[:8]}-{path.name}")):
        with _settling:  # of two that arrive at once under one name both stay
            if not place.exists():
                partial.replace(place)
                return place
        if _digest(place) == digest:
            return place
    raise Refused("failed", 409)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sweep(folder: Path) -> None:
    for left in folder.glob(f"{PARTIAL}*"):
        with contextlib.suppress(OSError):
            if left.stat().st_mtime < time.time() - STALE_SECONDS:
                left.unlink()


async def _download(request: Request) -> Response:
    from starlette.responses import FileResponse, PlainTextResponse

    told = sessions.current().told(request.query_params.get("ticket", ""), TICKET_SECONDS) or {}
    try:
        path = _offered(Path(str(told["of"])), Path(str(told["file"])))
    except (KeyError, WinnowError):
        return PlainTextResponse("This link is not valid any more: open the page again.", 404)
    return FileResponse(path, filename=path.name, content_disposition_type="attachment")

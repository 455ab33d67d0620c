"""Fetching: files that lie elsewhere, brought to this machine before they are read like any other file.

Covers: http and https; `hf://datasets/OWNER/NAME[@REVISION]/PATH`, a path or a pattern, where huggingface_hub is there.
Does not cover: addresses that ask for a password, listings, pages. Nothing that was fetched is ever run.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import string
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from curation.errors import IngestError
from curation.progress import Progress, silent

FOLDER = "downloads"
"""Where in a corpus what is fetched stays."""

WAIT_SECONDS = 10.0
"""How long a server may keep silent: to be connected, to answer, between two pieces."""

MOST_SECONDS = 6 * 3600.0
MOST_BYTES = 64 << 30
MOST_REDIRECTS = 5
TRIES = 4
"""How often a file is asked for; every time but the first only for the rest, after the connection broke."""

PIECE = 1 << 20
SPARE_BYTES = 64 << 20
"""Disk space that stays free."""

ELSEWHERE = "download it elsewhere and name the file"


@dataclass(frozen=True)
class Located:
    """A file on this machine, and what the user calls it."""

    path: Path
    origin: str
    """The address it was fetched from, or the path as it was given."""


@dataclass(frozen=True)
class _Kept:
    """What is remembered of a download beside it."""

    url: str
    etag: str | None
    last_modified: str | None
    bytes: int | None
    """Of the whole file, as the server says; null where it does not say."""


def is_remote(spec: str | Path) -> bool:
    """Whether this names something elsewhere (`https://...`, `hf://...`) rather than a file here."""
    return bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", str(spec)))


def located(spec: str | Path, folder: Path, progress: Progress = silent) -> tuple[Located, ...]:
    """The files that a path, an address or a pattern of the hub stands for; what lies elsewhere is fetched.

    Args:
        spec: a path, an http(s) address, or `hf://datasets/OWNER/NAME[@REVISION]/PATH`, where PATH may be a pattern.
        folder: where fetched files stay, each under its own name; asked again, only what changed is fetched.
        progress: told the bytes so far.

    Raises:
        IngestError: the address is wrong or can't be reached, what is there is no file, or it is too large.
    """
    if not is_remote(spec):
        return (Located(Path(spec), str(spec)),)
    spec = str(spec)
    scheme = spec.split("://")[0].lower()
    if scheme == "hf":
        return _from_hub(spec, folder, progress)
    if scheme not in ("http", "https"):
        raise IngestError(f"{spec} can't be fetched: {scheme} is not supported.", fix="give a path, https:// or hf://")
    return (Located(fetched(spec, folder, progress), spec),)


def fetched(url: str, folder: Path, progress: Progress = silent) -> Path:
    """Bring the file at an http(s) address into `folder`; broken off, it goes on where it stopped.

    At most `MOST_BYTES` and `MOST_SECONDS`; a server that says nothing for `WAIT_SECONDS` is given up. A file that the
    server says is unchanged is not fetched again.

    Raises:
        IngestError: see `located`.
    """
    name = _checked_name(url)
    place = folder / hashlib.sha256(url.encode()).hexdigest()[:12]
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise IngestError(f"The folder {place} can't be made: {error.strerror}.", fix=ELSEWHERE) from None
    path, deadline = place / name, time.monotonic() + MOST_SECONDS
    for attempt in range(1, TRIES + 1):
        try:
            return _once(url, path, deadline, progress)
        except urllib.error.HTTPError as error:
            _clear(place)
            raise _refused(url, error) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            began = _partial(path).exists() and _partial(path).stat().st_size > 0
            if attempt == TRIES or not began or not _is_broken_off(error):
                _clear(place)
                raise _unreached(url, path, error) from None
    raise AssertionError("the loop returns or raises")


def _clear(place: Path) -> None:
    with contextlib.suppress(OSError):
        place.rmdir()  # if nothing came at all


def _once(url: str, path: Path, deadline: float, progress: Progress) -> Path:
    """Ask for the file, or for what is missing of it."""
    about, partial = path.parent / "about.json", _partial(path)
    kept = _remembered(about)
    headers = {"Accept-Encoding": "identity", **_conditions(kept, path, partial)}
    try:
        answer = _open(url, headers)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 304 and path.exists():
            return path
        if error.code != 416:
            raise
        partial.unlink(missing_ok=True)  # it is as long as the file or longer: not the beginning of it
        answer = _open(url, {"Accept-Encoding": "identity"})
    with answer:
        _check_is_file(url, answer)
        done = _already(answer, partial)
        size = _size(answer, done)
        _check_room(url, path.parent, size, done)
        about.write_text(json.dumps(asdict(_Kept(url, answer.headers["ETag"], answer.headers["Last-Modified"], size))))
        with partial.open("r+b" if done else "wb") as file:
            file.seek(done)
            for piece in _pieces(answer, deadline):
                file.write(piece)
                done += len(piece)
                progress(done, size, f"{path.name}: {done / 1e6:,.1f} MB fetched")
                if done > MOST_BYTES:
                    raise _too_large(url, done)
    if size is not None and done < size:
        raise ConnectionResetError(f"it broke off after {done:,} of {size:,} bytes")
    partial.replace(path)
    return path


def _conditions(kept: _Kept | None, path: Path, partial: Path) -> dict[str, str]:
    """The headers that ask only for what is not here yet. Without a word of the server on its version: none."""
    version = kept and (kept.etag or kept.last_modified)
    if kept is None or not version:
        return {}
    if partial.exists() and partial.stat().st_size and not version.startswith("W/"):
        return {"Range": f"bytes={partial.stat().st_size}-", "If-Range": version}
    if not path.exists() or partial.exists():
        return {}
    return {"If-None-Match": kept.etag} if kept.etag else {"If-Modified-Since": version}


def _already(answer: Any, partial: Path) -> int:
    """How many bytes of the file are here: none unless the server goes on exactly where they end."""
    if answer.status != 206:
        return 0
    here = partial.stat().st_size
    if not (answer.headers["Content-Range"] or "").startswith(f"bytes {here}-"):
        partial.unlink()
        raise ConnectionResetError("the server goes on at another place than it was asked for")
    return here


def _size(answer: Any, done: int) -> int | None:
    length = answer.headers["Content-Length"]
    return done + int(length) if length and length.isdigit() else None


def _pieces(answer: Any, deadline: float) -> Iterator[bytes]:
    while piece := answer.read1(PIECE):
        yield piece
        if time.monotonic() > deadline:
            raise TimeoutError(f"it took longer than {MOST_SECONDS / 3600:.0f} hours")


def _check_is_file(url: str, answer: Any) -> None:
    if answer.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise IngestError(f"{url} is a web page, not a file.", fix="give the address that downloads the file itself")


def _check_room(url: str, folder: Path, size: int | None, done: int) -> None:
    if size is not None and size > MOST_BYTES:
        raise _too_large(url, size)
    free = shutil.disk_usage(folder).free - SPARE_BYTES
    if (size or 0) - done > free:
        raise IngestError(
            f"{url} has {size:,} bytes, and only {max(free, 0):,} are free in {folder}.",
            fix="make room, then try again",
        )


def _too_large(url: str, size: int) -> IngestError:
    return IngestError(f"{url} has {size:,} bytes; {MOST_BYTES:,} is the limit.", fix=ELSEWHERE)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _remembered(about: Path) -> _Kept | None:
    try:
        return _Kept(**json.loads(about.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _checked_name(url: str) -> str:
    """The name a file gets here: the last part of the address, without what no file system takes."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, secret = parts.hostname, parts.username or parts.password
        parts.port  # noqa: B018 (raises where it is no number)
    except ValueError as error:
        raise IngestError(f"{url} is no address: {error}.", fix="check it; give https://HOST/FILE") from None
    if not host or not host.isascii() or re.search(r"[\s\x00-\x1f]", url):
        raise IngestError(f"{url!r} is no address.", fix="check it (spaces are written %20); give https://HOST/FILE")
    if secret:
        raise IngestError("The address holds a name or password, which would be stored.", fix=ELSEWHERE)
    name = re.sub(r"[^\w.+-]+", "_", urllib.parse.unquote(parts.path).rsplit("/", 1)[-1]).lstrip(".")
    return name.encode()[-150:].decode(errors="ignore") or "download"


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = MOST_REDIRECTS


def _open(url: str, headers: Mapping[str, str], method: str = "GET") -> Any:
    # No file:, ftp: or data: handler: what is asked for is on the web or nowhere. Proxies of the environment count.
    opener = urllib.request.OpenerDirector()
    for handler in (
        *(urllib.request.ProxyHandler(), urllib.request.HTTPHandler(), urllib.request.HTTPSHandler(), _Redirects()),
        *(
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.UnknownHandler(),
        ),
    ):
        opener.add_handler(handler)
    written = urllib.parse.quote(url, safe=string.punctuation)  # letters beyond ASCII
    request = urllib.request.Request(written, headers={"User-Agent": "winnow", **headers}, method=method)
    return opener.open(request, timeout=WAIT_SECONDS)


def _is_broken_off(error: Exception) -> bool:
    return isinstance(error, ConnectionError | TimeoutError | http.client.HTTPException | urllib.error.URLError)


def _refused(url: str, error: urllib.error.HTTPError) -> IngestError:
    if 300 <= error.code < 400:
        return IngestError(
            f"{url} can't be fetched: it redirects in a circle, or away from the web.",
            fix="give the address that downloads the file itself",
        )
    if error.code in (401, 403, 407):
        fix = "fetch it where you are signed in, and name the file"
    else:
        fix = "check the address in a browser" if error.code < 500 else "try again later"
    return IngestError(f"{url} can't be fetched: the server answers {error.code} {error.reason}.", fix=fix)


def _unreached(url: str, path: Path, error: Exception) -> IngestError:
    earlier = f"{ELSEWHERE}, or use the earlier copy {path}" if path.exists() else ELSEWHERE
    return IngestError(f"{url} can't be reached: {_reason(error)}.", fix=earlier)


def _reason(error: Exception) -> str:
    reason: Any = getattr(error, "reason", None) or error
    if isinstance(reason, socket.gaierror):
        return "the name of the host is not known, or there is no network"
    if isinstance(reason, TimeoutError) and "timed out" in str(reason):
        return f"no answer within {WAIT_SECONDS:.0f} s"
    return str((reason.strerror if isinstance(reason, OSError) else None) or reason).rstrip(".")


# ---------------------------------------------------------------- the Hugging Face hub


def _from_hub(spec: str, folder: Path, progress: Progress) -> tuple[Located, ...]:
    # The endpoint and the token are the library's affair: HF_ENDPOINT, HF_TOKEN.
    found = re.fullmatch(r"hf://datasets/([\w.-]+/[\w.-]+?)(?:@([^/]+))?/(.+)", spec)
    if found is None:
        raise IngestError(
            f"{spec} names no file of a data set.", fix="write it like: hf://datasets/OWNER/NAME/PATH_OR_PATTERN"
        )
    repository, revision, pattern = found[1], found[2] and urllib.parse.unquote(found[2]), found[3]
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        from huggingface_hub import HfApi, hf_hub_download
    except ImportError:
        raise IngestError(
            f"{spec} needs huggingface_hub, which is not installed.", fix="pip install 'winnow-studio[models]'"
        ) from None
    place = folder / re.sub(r"\W+", "-", f"{repository}@{revision or 'main'}")
    with _hub_errors(spec):
        _check_hub_answers(HfApi().endpoint)
        listed = HfApi().list_repo_files(repository, repo_type="dataset", revision=revision)
        names = _matching(spec, pattern, listed)
        here = []
        for number, name in enumerate(names):
            progress(number, len(names), f"{name}: asking the hub")
            path = hf_hub_download(repository, name, repo_type="dataset", revision=revision, local_dir=place)
            here.append(Located(Path(path), spec.replace(pattern, name)))
    progress(len(names), len(names), f"{repository}: {len(names)} files fetched")
    return tuple(here)


def _matching(spec: str, pattern: str, listed: Sequence[str]) -> list[str]:
    # A name with .. would leave the folder; no hub has one.
    safe = [name for name in sorted(listed) if not name.startswith(("/", "\\")) and ".." not in Path(name).parts]
    names = [name for name in safe if name == pattern] or [name for name in safe if fnmatchcase(name, pattern)]
    if not names:
        shown = ", ".join(safe[:8]) + (", ..." if len(safe) > 8 else "")
        raise IngestError(f"{spec}: no such file in the data set.", fix=f"choose from: {shown or 'nothing there'}")
    return names


@contextlib.contextmanager
def _hub_errors(spec: str) -> Iterator[None]:
    try:
        yield
    except IngestError:
        raise
    except Exception as error:  # the library's HTTP client, and with it what it raises, changes between versions
        reason = re.sub(r"\s+", " ", str(error)).strip().split(" (Request ID")[0][:200] or type(error).__name__
        raise IngestError(f"{spec} can't be fetched: {reason.rstrip('.')}.", fix=ELSEWHERE) from None


def _check_hub_answers(endpoint: str) -> None:
    # Asked once and plainly: without a network the library itself tries for half a minute, and says so each time.
    try:
        _open(endpoint, {}, "HEAD").close()
    except urllib.error.HTTPError as error:
        error.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise OSError(f"{endpoint}: {_reason(error)}") from None

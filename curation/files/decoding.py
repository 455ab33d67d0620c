"""The bytes of a file: decompressed, and in UTF-8 whatever they were written in.

Covers: gzip and zstd, UTF-16 and UTF-32 that say so in their first bytes, an encoding that the user names. Chinese text
in GB18030 (GBK, GB2312) is recognised and refused with the option to give: a wrong guess would be mojibake.
"""

from __future__ import annotations

import codecs
import gzip
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from curation.errors import IngestError

BOM = b"\xef\xbb\xbf"
MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"{\x00", "utf-16-le"),
    (b"[\x00", "utf-16-le"),
    (b"\x00{", "utf-16-be"),
    (b"\x00[", "utf-16-be"),
)
"""First bytes -> encoding; JSON begins with a bracket, so its zero bytes tell the width."""

PIECE = 1 << 18
WORDS = re.compile(rb"[^\x00-\x2f]+")
"""Runs without spaces, quotes, commas and line ends, which no encoding here uses inside a character."""
MOST_ODD = 0.01
"""Share of the words that may be damaged in a file whose encoding is recognised."""
CHINESE = re.compile("[\u3001-\u303f\u4e00-\u9fff\uff00-\uffef]")


def opened(path: Path, encoding: str | None = None) -> io.BufferedReader:
    """The decompressed bytes of a file, as UTF-8; bytes that its encoding does not know stay as they are.

    Args:
        path: of the file.
        encoding: null for UTF-8, or whatever the first bytes say.

    Raises:
        IngestError: there is no such encoding, or the text is certainly Chinese in GB18030.
        OSError, EOFError: it can't be read, or is cut.
    """
    name = _known(encoding) if encoding else None
    file = _plain(path)
    start = file.peek()
    if name is None:
        name = next((name for mark, name in MARKS if start.startswith(mark)), None)
    if name is None and _is_chinese(start):
        file.close()
        raise IngestError(
            f"{path} is not UTF-8; it reads as Chinese text in GB18030 (GBK).",
            fix="say so: --encoding gb18030, or convert the file to UTF-8",
        )
    if name in (None, "utf-8"):
        return file
    return io.BufferedReader(_Pieces(_in_utf8(file, str(name))), buffer_size=1 << 20)


def _known(encoding: str) -> str:
    try:
        found = codecs.lookup(encoding)
        "".encode(encoding)
    except (LookupError, ValueError):
        raise IngestError(
            f"There is no encoding {encoding!r}.", fix="give one such as gb18030, big5 or latin-1"
        ) from None
    return found.name


def _plain(path: Path) -> io.BufferedReader:
    with path.open("rb") as file:
        magic = file.read(4)
    stream: Any
    if magic[:2] == b"\x1f\x8b":
        stream = gzip.open(path)  # noqa: SIM115
    elif magic == b"\x28\xb5\x2f\xfd":
        stream = _Pieces(_zstd_pieces(path))
    else:
        stream = path.open("rb")
    return io.BufferedReader(stream, buffer_size=1 << 20)


class _Pieces(io.RawIOBase):
    """A stream over pieces of bytes."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def _zstd_pieces(path: Path) -> Iterator[bytes]:
    # The library's own stream reader ends without a word where a file is cut off.
    import zstandard

    try:
        with path.open("rb") as file:
            frame, whole = zstandard.ZstdDecompressor().decompressobj(), True
            while data := file.read(1 << 16):
                while data:
                    if frame.eof:
                        frame = zstandard.ZstdDecompressor().decompressobj()
                    yield frame.decompress(data)
                    whole, data = frame.eof, frame.unused_data
            if not whole:
                raise EOFError("the compressed file ends in the middle")
    except zstandard.ZstdError as error:
        raise EOFError(str(error)) from None


def _in_utf8(file: io.BufferedReader, encoding: str) -> Iterator[bytes]:
    # What can't be decoded comes out as bytes that are no UTF-8 either, so that it costs its row and no other.
    wide = encoding.startswith(("utf-16", "utf-32"))
    decode: Callable[..., str] = codecs.getincrementaldecoder(encoding)(
        "surrogatepass" if wide else "surrogateescape"
    ).decode
    errors = "surrogatepass" if wide else "surrogateescape"
    with file:
        while data := file.read(PIECE):
            yield decode(data).encode("utf-8", errors)
        try:
            yield decode(b"", True).encode("utf-8", errors)
        except UnicodeDecodeError as error:
            raise EOFError(f"the last character is cut ({error.reason})") from None


def _is_chinese(start: bytes) -> bool:
    """Whether bytes are no UTF-8, but GB18030 throughout and mostly Chinese characters."""
    try:
        start.decode()
        return False
    except UnicodeDecodeError as error:
        if error.start >= len(start) - 3:  # a character that the end of the piece cuts
            return False
    words = [word for word in WORDS.findall(start) if not word.isascii()][:-1] or [start]
    decoded = [_decoded(word, "gb18030") for word in words]
    read = "".join(word for word in decoded if word is not None)
    utf8 = sum(_decoded(word, "utf-8") is not None for word in words)
    foreign = sum(not c.isascii() for c in read)
    return (
        decoded.count(None) <= MOST_ODD * len(words)
        and utf8 * 2 < len(words)
        and len(CHINESE.findall(read)) > 0.9 * foreign > 0
    )


def _decoded(word: bytes, encoding: str) -> str | None:
    try:
        return word.decode(encoding)
    except UnicodeDecodeError:
        return None

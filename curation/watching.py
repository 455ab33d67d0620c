"""Watching: a folder whose files are ingested as they come and as they change.

What was read is known by its content, so a watch that ends and begins again reads nothing twice. A file that is still
being written is left until it is quiet; one that can't be read is said once and looked at again when it changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from curation.corpus import Corpus
from curation.errors import CorpusError, IngestError
from curation.ingestion import FileReport, ingest
from curation.progress import Progress, silent

UNFINISHED = (".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".filepart", ".swp", "~")
"""How names end while something else writes the file."""


@dataclass(frozen=True)
class WatchReport:
    """What a watch brought into the corpus."""

    added: int
    duplicates: int
    rejected: int
    files: tuple[FileReport, ...]
    """One per file and time it was read, in that order."""
    refused: dict[str, str]
    """File -> why it could not be read at all."""
    unfinished: tuple[str, ...]
    """Files that were still being written at the end, or read when it was interrupted."""


Arrived = Callable[[FileReport | IngestError], None]
"""Told of every file that was read or refused, as it happens."""


def watch(
    corpus: Corpus,
    folder: Path | str,
    *,
    pattern: str = "*",
    once: bool = False,
    every_seconds: float = 10.0,
    source: str | None = None,
    fields: Mapping[str, str] | None = None,
    arrived: Arrived = lambda _: None,
    stop: threading.Event | None = None,
    progress: Progress = silent,
) -> WatchReport:
    """Ingest what is new or changed in a folder, again and again until it is stopped.

    A file is read when its size and time have not changed for `every_seconds`. Hidden files, names that end like
    unfinished ones and whatever lies in the corpus itself are left alone.

    Args:
        corpus: where to.
        folder: what to watch.
        pattern: which files; `**/*.jsonl` looks into the folders below as well.
        once: read what is there, wait one interval for what is being written, and return.
        every_seconds: between two looks.
        source: what to call the source; each file's name when null.
        fields: as for `ingest`.
        arrived: told of each file as it is read or refused.
        stop: ends the watch after the file at hand when it is set. Ctrl-C ends it at once; what was stored of the file
            stays, and the next watch goes on from there.
        progress: told the rows read of the file at hand.

    Raises:
        IngestError: there is no such folder.
        CorpusError: the corpus can't be written, or the pattern or the interval is wrong.
    """
    folder, stop = Path(folder), stop or threading.Event()
    if not folder.is_dir():
        raise IngestError(f"There is no folder {folder}.", fix=f"name a folder, or: winnow ingest {corpus.path} FILE")
    if not every_seconds > 0:
        raise CorpusError(f"A watch can't look every {every_seconds:g} s.", fix="give seconds above 0: --every 10")
    looker = _Looker(corpus, folder, pattern, every_seconds)
    with contextlib.suppress(KeyboardInterrupt):  # this is how a watch ends
        while not stop.is_set():
            for path in looker.ready():
                if not stop.is_set():
                    looker.take(path, source, fields, arrived, progress)
            progress(len(looker.files), None, f"watching {folder}: {len(looker.files):,} files read")
            if once and (looker.looks > 1 or not looker.unfinished):
                break
            stop.wait(every_seconds)
    return looker.report()


Mark = tuple[int, int]
"""Size, and time of the last change in nanoseconds."""


@dataclass
class _Looker:
    """A watch between two looks."""

    corpus: Corpus
    folder: Path
    pattern: str
    every_seconds: float
    looks: int = 0
    done: dict[Path, Mark] = field(default_factory=dict)
    before: dict[Path, Mark] = field(default_factory=dict)
    unfinished: list[Path] = field(default_factory=list)
    files: list[FileReport] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    def ready(self) -> list[Path]:
        """Look: the files that are new or changed and quiet; those that are not quiet are `unfinished`."""
        self.looks += 1
        marks = dict(self._marks())
        fresh = {path: mark for path, mark in marks.items() if self.done.get(path) != mark}
        quiet = [path for path, mark in fresh.items() if mark == self.before.get(path) or self._is_old(mark)]
        self.before, self.unfinished = marks, [path for path in fresh if path not in quiet]
        return quiet

    def _marks(self) -> Iterator[tuple[Path, Mark]]:
        try:
            found = sorted(self.folder.glob(self.pattern))
        except (ValueError, NotImplementedError) as error:
            raise CorpusError(
                f"The pattern {self.pattern!r} does not work: {error}.", fix="write it like: --pattern '**/*.jsonl'"
            ) from None
        for path in found:
            hidden = any(part.startswith(".") for part in path.relative_to(self.folder).parts)
            if hidden or path.name.lower().endswith(UNFINISHED) or path.resolve().is_relative_to(self.corpus.path):
                continue
            try:
                stat = path.stat()
            except OSError:  # it was there a moment ago, or it is a link to nowhere
                continue
            if path.is_file() and stat.st_size:
                yield path, (stat.st_size, stat.st_mtime_ns)

    def _is_old(self, mark: Mark) -> bool:
        return time.time() - mark[1] / 1e9 > self.every_seconds

    def take(
        self, path: Path, source: str | None, fields: Mapping[str, str] | None, arrived: Arrived, progress: Progress
    ) -> None:
        """Ingest a file, unless its content was ingested before."""
        self.unfinished.append(path)
        brought: FileReport | IngestError | None = None
        self.refused.pop(str(path), None)
        try:
            if not self._is_known(path):
                brought = ingest(self.corpus, [path], source=source, fields=fields, progress=progress).files[0]
                self.files.append(brought)
        except IngestError as error:
            brought = error
            self.refused[str(path)] = error.message
        self.done[path] = self.before[path]
        self.unfinished.remove(path)
        if brought is not None:
            arrived(brought)

    def _is_known(self, path: Path) -> bool:
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return False  # ingestion says why
        return self.corpus.query("SELECT 1 FROM batches WHERE sha256 = ? LIMIT 1", digest).height > 0

    def report(self) -> WatchReport:
        """What came of it so far."""
        return WatchReport(
            added=sum(f.added for f in self.files),
            duplicates=sum(f.duplicates for f in self.files),
            rejected=sum(f.rejected for f in self.files),
            files=tuple(self.files),
            refused=dict(self.refused),
            unfinished=tuple(map(str, self.unfinished)),
        )

"""Batches at the endpoints of OpenAI: sent once, looked after, and their results taken when they end."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from curation.errors import CorpusError, ModelError
from curation.language_models.batch_files import requests_in
from curation.language_models.batch_results import BatchTaken, take_results
from curation.language_models.batch_service import BatchService
from curation.language_models.batch_store import SETTLED, BatchStore, Sent
from curation.progress import Progress, silent

FOLDER = "batches"
"""Where in a corpus the results of sent batches lie."""
ROW = {"file": "", "batch": None, "state": "", "requests": 0, "done": None, "errors": None, "reason": None}


@dataclass(frozen=True)
class BatchPolled:
    """How the batches stand that were sent."""

    batches: list[dict[str, Any]]
    open: int
    taken: BatchTaken | None


def send_files(corpus: Path, spec: str, files: Sequence[Path], *, progress: Progress = silent) -> BatchPolled:
    """Send files to the Batch endpoints of OpenAI (or of a server that has them); what is under way is not sent twice.

    A file whose batch has ended may be sent again.

    Raises:
        CorpusError: a file holds no requests of this corpus.
        ModelError: there is no key, or the endpoint does not take it.
    """
    service = BatchService(spec)
    rows = []
    with BatchStore(corpus) as batches:
        try:
            for number, path in enumerate(files, 1):
                rows.append(_row(_send(service, batches, spec, path)))
                progress(number, len(files), f"{path.name} is sent")
        finally:
            service.close()
    return BatchPolled(rows, _open(rows), None)


def _send(service: BatchService, batches: BatchStore, spec: str, path: Path) -> Sent:
    requests = list(requests_in(path))
    if not requests or batches.known(requests[0]["custom_id"]) is None:
        raise CorpusError(f"{path} holds no requests of this corpus.", fix="write them first: winnow batch write")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    ids = [request["custom_id"] for request in requests]
    sent = next((s for s in batches.sent() if s.sha256 == digest), None)
    if sent is not None and sent.batch is not None and sent.state not in SETTLED:
        return sent
    if sent is not None and sent.batch is None and (lost := service.marked(sent.mark)) is not None:
        sent = replace(sent, batch=lost.id, state=lost.status)  # this command was killed before it knew
        batches.keep(sent, ids)
        return sent
    if sent is None or sent.batch is not None:
        tries = sent.tries + 1 if sent else 1
        sent = Sent(digest, str(path), spec, len(ids), requests[0]["url"], tries=tries)
    if sent.input_file is None:
        sent = replace(sent, input_file=service.upload(path))
    sent = replace(sent, taken=False)
    batches.keep(sent, ids)
    try:
        batch = service.create(str(sent.input_file), sent.url, sent.mark)
    except ModelError:  # these calls are not under way
        batches.keep(replace(sent, taken=True))
        raise
    sent = replace(sent, batch=batch.id, state=batch.status)
    batches.keep(sent, ids)
    return sent


def poll_batches(
    corpus: Path, *, wait: bool = False, every_seconds: float = 30, progress: Progress = silent
) -> BatchPolled:
    """Ask how sent batches stand, and take the results of those that have ended, expired ones included.

    Args:
        corpus: its folder.
        wait: until none is open any more.
        every_seconds: between two looks.
        progress: told after every look.

    Raises:
        ModelError: the endpoint can't be asked.
    """
    services: dict[str, BatchService] = {}
    with BatchStore(corpus) as batches:
        try:
            while True:
                looks = [_look(services, batches, sent, corpus / FOLDER) for sent in batches.sent() if sent.batch]
                rows = [row for row, _ in looks]
                progress(len(rows) - _open(rows), len(rows), f"{_open(rows)} batches open")
                if not (wait and _open(rows)):
                    break
                time.sleep(every_seconds)
        finally:
            for service in services.values():
                service.close()
        files = [path for _, paths in looks for path in paths]
        taken = take_results(corpus, files) if files else None
        for sent in batches.sent():
            if sent.state in SETTLED and not sent.taken:
                batches.keep(replace(sent, taken=True))
    return BatchPolled(rows, _open(rows), taken)


def _look(
    services: dict[str, BatchService], batches: BatchStore, sent: Sent, folder: Path
) -> tuple[dict[str, Any], list[Path]]:
    """How a batch stands, and the files with its results where it has ended and they were not taken yet."""
    if sent.taken:
        return _row(sent), []
    if sent.spec not in services:
        services[sent.spec] = BatchService(sent.spec)
    service = services[sent.spec]
    batch = service.state(str(sent.batch))
    files = []
    if batch.status in SETTLED:
        folder.mkdir(exist_ok=True)
        for kind, file in (("output", batch.output_file_id), ("errors", batch.error_file_id)):
            if file:
                files.append(folder / f"{sent.batch}.{kind}.jsonl")
                service.fetch(file, files[-1])
    sent = replace(sent, state=batch.status)
    batches.keep(sent)
    row = _row(sent)
    if batch.request_counts is not None:
        row |= {"done": batch.request_counts.completed, "errors": batch.request_counts.failed}
    if batch.status == "failed":
        told = [error.message or error.code or "" for error in (batch.errors.data or [])] if batch.errors else []
        row["reason"] = "; ".join(filter(None, told)) or "the endpoint gives no reason"
    return row, files


def _row(sent: Sent) -> dict[str, Any]:
    told = {"file": Path(sent.file).name, "batch": sent.batch, "state": sent.state, "requests": sent.requests}
    return {**ROW, **told}


def _open(rows: Sequence[dict[str, Any]]) -> int:
    return sum(row["state"] not in SETTLED for row in rows)

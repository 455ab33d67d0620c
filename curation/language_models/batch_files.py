"""Calls as the files that OpenAI's Batch and `vllm run-batch` read, and their results, in one format for both.

A request is a line `{"custom_id", "method", "url", "body"}`, a result a line `{"custom_id", "response", "error"}`. The
id is the first 32 hex digits of the call's key; results are matched by it and never by position, come from output and
error files alike, and may be of a batch that expired: what is there is taken, what is not is asked again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.errors import CorpusError
from curation.language_models.calls import key_of, rendered
from curation.language_models.models import ChatRequest

MOST_LINES = 50_000
MOST_BYTES = 190 * 10**6
"""OpenAI takes 200 MB."""
CHAT = "/v1/chat/completions"
RAW = "/v1/completions"
"""For raw prompts; OpenAI takes it, `vllm run-batch` (0.32) does not."""
ID_DIGITS = 32
"""Of the key; ids may have 64 characters at most."""
REFUSED_STATUSES = (400, 413, 422)
REFUSED = "refused in a batch: "
"""How the error of a request is kept that the endpoint would refuse again; a run that needs it settles it."""
UNFINISHED_CODES = ("batch_expired", "batch_cancelled", "request_cancelled", "cancelled")
"""The request was never worked on."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that is to be made in a batch."""

    id: str
    key: str
    model: str
    """What the model is called in the key."""
    rendered: str
    """What the key is the hash of."""
    endpoint: str
    """Host and port where it would be asked otherwise; `vllm` where a server would be started."""
    url: str
    line: str
    """Of the file, without its line end."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a request: a response or an error."""

    id: str
    response: dict[str, Any] | None = None
    error: str | None = None
    refused: bool = False
    """The error is about this very request."""
    unfinished: bool = False
    """The batch ended before it was its turn."""


def asked(spec: str, model: str, endpoint: str, request: ChatRequest) -> Asked:
    """A call as a line of a batch.

    Args:
        spec: of the chat model; its name is what the batch is told.
        model: what the model is called in keys.
        endpoint: host and port.
        request: what is asked.
    """
    text = rendered(model, request)
    key = key_of(text)
    url = CHAT if request.prompt is None else RAW
    body = {"model": model_in(spec), **_body(request, official=spec.startswith("openai:"))}
    line = json.dumps({"custom_id": key[:ID_DIGITS], "method": "POST", "url": url, "body": body}, ensure_ascii=False)
    return Asked(key[:ID_DIGITS], key, model, text, endpoint, url, line)


def model_in(spec: str) -> str:
    """The model as its server calls it."""
    kind, _, rest = spec.partition(":")
    return rest.partition("#")[2] if kind in ("http", "https") else rest


def _body(request: ChatRequest, official: bool) -> dict[str, Any]:
    body = {name: value for name, value in request.parameters.items() if value is not None}
    if request.prompt is not None:
        return {"prompt": request.prompt, **body}
    if official and "max_tokens" in body:  # OpenAI's reasoning models refuse the old name
        body["max_completion_tokens"] = body.pop("max_tokens")
    return {"messages": [{"role": role, "content": content} for role, content in request.messages], **body}


def write_files(
    folder: Path, name: str, calls: Iterable[Asked], most_lines: int = MOST_LINES, most_bytes: int = MOST_BYTES
) -> list[Path]:
    """Write calls into files, each of one model and one address as OpenAI wants it, none over the limits.

    Files are named by their content, so that equal calls make equal files, and are there only when they are whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    groups: dict[tuple[str, str], list[Asked]] = {}
    for call in calls:
        groups.setdefault((call.model, call.url), []).append(call)
    return [
        _write(folder, name, lines)
        for group in groups.values()
        for lines in _parts((_bytes(call.line) for call in group), most_lines, most_bytes)
    ]


def _parts(lines: Iterable[bytes], most_lines: int, most_bytes: int) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    size = 0
    for line in lines:
        if part and (len(part) >= most_lines or size + len(line) > most_bytes):
            yield part
            part, size = [], 0
        part.append(line)
        size += len(line)
    if part:
        yield part


def _bytes(line: str) -> bytes:
    """Half of a surrogate pair becomes its escape, which reads back the same."""
    return line.encode("utf-8", "backslashreplace") + b"\n"


def _write(folder: Path, name: str, lines: list[bytes]) -> Path:
    digest = hashlib.sha256(b"".join(lines)).hexdigest()
    path = folder / f"{name}-{digest[:8]}.jsonl"
    temporary = folder / f".{path.name}.{os.getpid()}"
    temporary.write_bytes(b"".join(lines))
    temporary.replace(path)
    return path


def requests_in(path: Path) -> Iterator[dict[str, Any]]:
    """The requests of a file that `write_files` has made.

    Raises:
        CorpusError: it can't be read, or a line is no request.
    """
    for number, line in _lines(path):
        read = _loaded(line)
        if read is None or not isinstance(read.get("custom_id"), str) or not isinstance(read.get("body"), dict):
            raise CorpusError(f"{path}:{number} is no request of a batch.", fix="give a file of `winnow batch write`")
        yield read


def results_in(path: Path) -> Iterator[Result | int]:
    """What a batch's output or error file holds, in its order; for a line that is no result its number.

    Raises:
        CorpusError: it can't be read.
    """
    for number, line in _lines(path):
        read = _loaded(line)
        known = read is not None and isinstance(read.get("custom_id"), str) and {"response", "error"} & set(read)
        yield _result(read) if known and read is not None else number


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except OSError as error:
        raise CorpusError(f"{path} can't be read: {error.strerror}.", fix="check the name of the file") from None


def _loaded(line: bytes) -> dict[str, Any] | None:
    try:
        read = json.loads(line)
    except ValueError:
        return None
    return read if isinstance(read, dict) else None


def _result(line: dict[str, Any]) -> Result:
    given = line.get("response")
    answered: dict[str, Any] = given if isinstance(given, dict) else {}
    status, body = answered.get("status_code"), answered.get("body")
    if line.get("error") is None and status in (200, None) and _is_completion(body):
        return Result(line["custom_id"], body)
    code, said = _said(line.get("error")) if line.get("error") is not None else _said(body)
    reason = said or (f"the answer is no chat completion: {body}" if body else "the batch holds no answer to it")
    status_text = f"Error code: {status} - " if isinstance(status, int) and status != 200 else ""
    return Result(
        line["custom_id"],
        error=" ".join(f"{status_text}{reason}".split())[:500],
        refused=status in REFUSED_STATUSES,
        unfinished=code in UNFINISHED_CODES,
    )


def _is_completion(body: object) -> bool:
    choices = body.get("choices") if isinstance(body, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return isinstance(first, dict) and (isinstance(first.get("message"), dict) or isinstance(first.get("text"), str))


def _said(error: object) -> tuple[str | None, str | None]:
    """Code and message of an error, however deep it is wrapped."""
    if isinstance(error, dict):
        if isinstance(error.get("error"), dict | str):
            return _said(error["error"])
        code, message = error.get("code"), error.get("message")
        return code if isinstance(code, str) else None, str(message or code) if message or code else None
    return None, error if isinstance(error, str) else None

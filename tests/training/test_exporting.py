from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from curation.errors import WinnowError
from training.config import TrainConfig
from training.exporting.export import export_model
from training.methods.opening import open_model, open_tokenizer
from training.runs.run_folder import EventLog, RunFolder

MANIFEST = {
    "name": "demo",
    "format": "messages",
    "by_source": {"maths": 30, "聊天": 12},
    "parts": [{"selection": "best", "rows": 42, "operator": {"name": "deita", "parameters": {"budget": 42}}}],
    "scores": [{"name": "length"}, {"name": "ifd"}],
}


def finished(path: Path, base: Path, **fields: Any) -> RunFolder:
    """A run as the training process leaves it, without its final weights."""
    run = RunFolder(path)
    config = TrainConfig(base_model=str(base), max_steps=3, **fields)
    run.write("config.json", config.model_dump(mode="json"))
    run.write("data.json", {"mix": str(path / "mix"), "sha256": {}, "manifest_sha256": "ab" * 32})
    run.write("manifest.json", MANIFEST)
    run.write("status.json", {"state": "done", "step": 3, "max_steps": 3})
    run.write("evaluation.json", {"overall": {"base": 5.5, "trained": 5.25, "random": 5.3}, "verdict": "not proven"})
    EventLog(run).emit("data", rows=42, tokens=2_000, loss_tokens=900, truncated=1, dropped={})
    return run


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    import torch
    from peft import LoraConfig, get_peft_model

    run = finished(tmp_path_factory.mktemp("runs") / "small", tiny_model, adapter="lora")
    torch.manual_seed(1)
    model = get_peft_model(
        open_model(str(tiny_model)), LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", r=4)
    )
    for name, weights in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=0.2)
    model.save_pretrained(str(run.final))
    open_tokenizer(str(tiny_model)).save_pretrained(str(run.final))
    (run.final / "training_args.bin").write_bytes(str(run.path).encode())
    return run


@pytest.fixture(scope="module")
def whole(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    run = finished(tmp_path_factory.mktemp("runs") / "whole", tiny_model, adapter="full")
    open_model(str(tiny_model)).save_pretrained(str(run.final))
    open_tokenizer(str(tiny_model)).save_pretrained(str(run.final))
    return run


def logits(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model.eval()(torch.arange(60).reshape(2, 30)).logits


def test_merged_weights_load_alone_and_have_the_logits_of_the_adapter(adapter: RunFolder, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    done = export_model(adapter.path, tmp_path / "out")
    alone = logits(AutoModelForCausalLM.from_pretrained(tmp_path / "out"))
    base = open_model(str(TrainConfig.from_file(adapter.path / "config.json").base_model))
    unchanged = logits(base)
    beside = logits(PeftModel.from_pretrained(base, str(adapter.final)))
    assert (alone - beside).abs().max() < 1e-4
    assert (alone - unchanged).abs().max() > 0.01
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template
    assert done.pushed is None
    assert {"README.md", "model.safetensors", "config.json", "tokenizer.json"} <= set(done.files)
    assert "training_args.bin" not in done.files


def test_no_file_of_an_export_names_a_folder_of_this_machine(adapter: RunFolder, tmp_path: Path) -> None:
    base = TrainConfig.from_file(adapter.path / "config.json").base_model
    export_model(adapter.path, tmp_path / "merged")
    done = export_model(adapter.path, tmp_path / "named", "adapter", base="someone/base-1B")
    for path in (p for p in tmp_path.rglob("*") if p.is_file()):
        content = path.read_bytes()
        assert str(tmp_path).encode() not in content, path
        assert str(adapter.path).encode() not in content, path
        assert base.encode() not in content, path
    assert json.loads((tmp_path / "named" / "adapter_config.json").read_text())["base_model_name_or_path"] == (
        "someone/base-1B"
    )
    assert done.notes == []


def test_an_adapter_finds_its_base_beside_it_wherever_one_stands(
    adapter: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = export_model(adapter.path, tmp_path / "out", "adapter")
    assert not done.base_model.startswith("/")
    assert "relative to this folder" in done.notes[0]
    monkeypatch.chdir("/")
    assert (logits(open_model(str(tmp_path / "out"))) - logits(open_model(str(adapter.final)))).abs().max() < 1e-6


def test_the_card_says_where_a_model_is_from_and_leaves_the_licence_open(adapter: RunFolder, tmp_path: Path) -> None:
    export_model(adapter.path, tmp_path / "out", "adapter", base="someone/base-1B")
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("---\nbase_model: someone/base-1B\nlibrary_name: peft\n")
    assert "\nlicense:" not in card
    for row in (
        "| from 聊天 | 12 |",
        "| selection best | 42 rows by deita (budget=42) |",
        "| scores of the corpus | length, ifd |",
        "| tokens | 2,000 in one pass, 900 with loss |",
        "| held-out loss, trained | 5.25 |",
        "| verdict | not proven |",
        '"max_steps": 3',
    ):
        assert row in card


def test_what_cannot_be_exported_is_told_in_two_lines(adapter: RunFolder, whole: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(WinnowError, match="The run whole has no adapter") as raised:
        export_model(whole.path, tmp_path / "out", "adapter")
    assert raised.value.fix == "export it --as merged"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(WinnowError, match="holds something else"):
        export_model(whole.path, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").exists()
    running = finished(tmp_path / "running", tmp_path)
    running.write("status.json", {"state": "stopped", "step": 2, "max_steps": 3})
    with pytest.raises(WinnowError, match="is not finished: stopped at step 2 of 3"):
        export_model(running.path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_export_replaces_an_export_and_nothing_that_a_user_has_put_there(whole: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = export_model(whole.path, out)
    assert ".winnow-export" not in first.files
    (out / "README.md").write_text("mine now, and winnow's")
    assert export_model(whole.path, out).files == first.files
    assert (out / "README.md").read_text().startswith("---")
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(WinnowError, match=r"out holds something else: thesis\.tex"):
        export_model(whole.path, out)
    assert (out / "thesis.tex").read_text() == "years of work"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_whose_readme_speaks_of_winnow_is_no_export(whole: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# My notes on winnow")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/main")
    with pytest.raises(WinnowError, match="holds something else"):
        export_model(whole.path, tmp_path)
    assert (tmp_path / ".git" / "HEAD").exists()


@pytest.mark.parametrize("where", [".", "final", "exported", ".."])
def test_an_export_goes_nowhere_into_or_around_its_run(whole: RunFolder, where: str) -> None:
    with pytest.raises(WinnowError, match="hold each other"):
        export_model(whole.path, whole.path / where)
    assert (whole.final / "model.safetensors").exists()


def test_without_llama_cpp_there_is_no_gguf(whole: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("WINNOW_GGUF_CONVERT", raising=False)
    with pytest.raises(WinnowError, match="There is no converter to GGUF") as raised:
        export_model(whole.path, tmp_path / "out", "gguf")
    assert "WINNOW_GGUF_CONVERT=" in raised.value.fix


def test_gguf_is_what_the_converter_makes_of_the_merged_model(
    whole: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "convert_hf_to_gguf.py"
    script.write_text(
        "import pathlib, sys\nmodel, out = pathlib.Path(sys.argv[1]), sys.argv[sys.argv.index('--outfile') + 1]\n"
        "pathlib.Path(out).write_bytes(b'GGUF' + (model / 'model.safetensors').read_bytes()[:4])\n"
    )
    monkeypatch.setenv("WINNOW_GGUF_CONVERT", str(script))
    done = export_model(whole.path, tmp_path / "out", "gguf")
    assert done.files == ["README.md", "whole.gguf"]
    assert (tmp_path / "out" / "whole.gguf").read_bytes().startswith(b"GGUF")
    script.write_text("raise SystemExit('no such architecture')\n")
    with pytest.raises(WinnowError, match="The converter to GGUF failed: no such architecture"):
        export_model(whole.path, tmp_path / "other", "gguf")
    assert not (tmp_path / "other").exists()


class Hub(BaseHTTPRequestHandler):
    """As much of the model hub as an upload needs."""

    seen: list[tuple[str, str | None, bytes]]
    status = 200

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.seen.append((self.path, self.headers.get("Authorization"), body))
        answer: dict[str, Any] = {"error": "no"}
        here = f"http://{self.headers['Host']}/someone/small"
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            answer = {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
        elif "/commit/" in self.path:
            answer = {"commitUrl": f"{here}/commit/{'1' * 40}", "commitOid": "1" * 40, "success": True}
        elif self.path.endswith("/repos/create"):
            answer = {"url": here, "id": "someone/small"}
        self._reply(self.status, answer)

    def do_GET(self) -> None:
        self._reply(200, {"id": "someone/small", "sha": "0" * 40, "siblings": []})

    def _reply(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    seen = type("SeenHub", (Hub,), {"seen": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), seen)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("HF_TOKEN", "hf_a_secret_of_mine")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    yield seen
    server.shutdown()
    server.server_close()


def pushed(folder: Path) -> str:
    """What a process says that uploads: where the hub is, its library reads once, when it is imported."""
    code = (
        "import sys; from curation.errors import WinnowError; from training.exporting.hub import push_folder\n"
        "try: print(push_folder(sys.argv[1], 'someone/small'))\n"
        "except WinnowError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_a_push_makes_a_private_repository_and_uploads_every_file(hub: type[Hub], tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\ntags: [winnow]\n---\n# small\n")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / ".winnow-export").write_text("{}")
    said = pushed(tmp_path)
    assert said.strip().endswith("/someone/small"), said
    created = next(json.loads(body) for path, _, body in hub.seen if path.endswith("/repos/create"))
    assert (created["name"], created["organization"]) == ("small", "someone")
    assert created.get("private") or created.get("visibility") == "private"
    commit = next(body for path, _, body in hub.seen if "/commit/" in path)
    lines = [json.loads(line) for line in commit.splitlines()]
    files = {line["value"]["path"]: line["value"]["content"] for line in lines if line["key"] == "file"}
    assert base64.b64decode(files["config.json"]) == b"{}"
    assert set(files) == {"README.md", "config.json"}, "the mark stays here"
    assert {token for _, token, _ in hub.seen} == {"Bearer hf_a_secret_of_mine"}


def test_a_hub_that_refuses_is_told_without_the_token(hub: type[Hub], tmp_path: Path) -> None:
    hub.status = 403
    (tmp_path / "config.json").write_text("{}")
    said = pushed(tmp_path)
    assert "The hub did not take someone/small" in said
    assert "secret" not in said


def test_without_a_token_nothing_is_exported_or_sent(
    whole: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(WinnowError, match="There is no token for the hub in HF_TOKEN"):
        export_model(whole.path, tmp_path / "out", push="someone/small")
    assert not (tmp_path / "out").exists()

from __future__ import annotations

import http.client
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from curation.errors import WinnowError
from tests.training.test_exporting import finished
from tests.training.test_training import wait_for
from training.config import TrainConfig
from training.methods.opening import open_model, open_tokenizer
from training.runs.run_folder import RunFolder
from training.serving.serving import Place, ServeReport, ask, serve, served, vllm_arguments

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """An adapter that changes what its base would say."""
    import torch
    from peft import LoraConfig, get_peft_model

    found = finished(tmp_path_factory.mktemp("runs") / "small", tiny_model, adapter="lora")
    torch.manual_seed(1)
    lora = LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", r=12)
    model = get_peft_model(open_model(str(tiny_model)), lora)
    for name, weights in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=0.5)
    model.save_pretrained(str(found.final))
    open_tokenizer(str(tiny_model)).save_pretrained(str(found.final))
    return found


@pytest.fixture(scope="module")
def places(run: RunFolder) -> Iterator[dict[str, Place]]:
    until, reports = threading.Event(), list[ServeReport]()
    thread = threading.Thread(target=lambda: reports.append(serve(run.path, by="transformers", until=until)))
    thread.start()
    wait_for(lambda: served(run.path))
    yield served(run.path) or {}
    until.set()
    thread.join()
    assert served(run.path) is None
    assert (reports[0].state, reports[0].model) == ("stopped", "small")


def test_the_run_and_its_base_answer_side_by_side(places: dict[str, Place], run: RunFolder) -> None:
    answers = {name: ask(place, HELLO, most_tokens=12) for name, place in places.items()}
    assert answers.keys() == {"trained", "base"}
    assert answers["trained"]["answer"] != answers["base"]["answer"]
    assert ask(places["trained"], HELLO, most_tokens=12)["answer"] == answers["trained"]["answer"]
    assert 0 < answers["base"]["tokens"] <= 12
    assert answers["base"]["finish_reason"] in ("stop", "length")
    assert (run.path / "serving.json").stat().st_mode & 0o077 == 0


def test_drawn_answers_have_a_seed(places: dict[str, Place]) -> None:
    drawn = [ask(places["base"], HELLO, most_tokens=12, temperature=1.0, seed=seed)["answer"] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_address_speaks_the_protocol_of_other_programs(places: dict[str, Place]) -> None:
    from curation.language_models.asking import answers
    from curation.language_models.models import ChatRequest

    asked = ChatRequest((("user", "Hello"),), {"max_tokens": 12, "temperature": 0})
    place = places["trained"]
    found = answers(f"{place.address}#{place.model}", [asked], calls=None, run="test")[0]
    assert found.text == ask(place, HELLO, most_tokens=12)["answer"]
    with urllib.request.urlopen(f"{places['base'].address}/models") as reply:
        assert [model["id"] for model in json.load(reply)["data"]] == ["small", "base"]


@pytest.mark.parametrize(
    "kind, body, why",
    [
        ("text/plain", b"{}", "send JSON"),
        ("application/json", b"not", "Expecting value"),
        ("application/json", b"[]", "send a JSON object"),
        ("application/json", b'{"model": "base", "messages": "Hello"}', ""),
        ("application/json", b'{"model": "base", "messages": [1]}', ""),
        ("application/json", b'{"model": "other"}', "there is no model 'other'; there are small, base"),
        ("application/json", b'{"model": "base", "stream": true}', "answers come whole"),
        (
            "application/json",
            json.dumps({"model": "base", "messages": [{"role": "user", "content": "a" * 300}]}).encode(),
            "and the model sees 256",
        ),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused_with_its_reason(
    places: dict[str, Place], kind: str, body: bytes, why: str
) -> None:
    request = urllib.request.Request(f"{places['base'].address}/chat/completions", body, {"Content-Type": kind})
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request)
    assert raised.value.code == 400
    assert why in json.load(raised.value)["error"]["message"]


def test_a_length_that_is_no_number_is_refused(places: dict[str, Place]) -> None:
    host, port = places["base"].address.removeprefix("http://").removesuffix("/v1").split(":")
    connection = http.client.HTTPConnection(host, int(port))
    connection.putrequest("POST", "/v1/chat/completions")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", "many")
    connection.endheaders()
    assert connection.getresponse().status == 400
    connection.close()


def test_a_run_is_served_once(places: dict[str, Place], run: RunFolder) -> None:
    with pytest.raises(WinnowError, match="The run small is served already, at http"):
        serve(run.path)


def test_what_cannot_answer_is_told_in_two_lines(run: RunFolder, tiny_model: Path, tmp_path: Path) -> None:
    judge = finished(tmp_path / "judge", tiny_model, method="reward", adapter="full")
    with pytest.raises(WinnowError, match="trained a model that judges answers and writes none"):
        serve(judge.path)
    stopped = finished(tmp_path / "stopped", tiny_model)
    stopped.write("status.json", {"state": "stopped", "step": 2, "max_steps": 3})
    with pytest.raises(WinnowError, match="is not finished: stopped at step 2 of 3"):
        serve(stopped.path)
    with pytest.raises(WinnowError, match="does not answer"):
        ask(Place("http://127.0.0.1:1/v1", "gone"), HELLO)


def test_a_server_whose_process_is_gone_serves_nothing(tmp_path: Path) -> None:
    RunFolder(tmp_path).write("serving.json", {"pid": 2**22 + 1, "process_start": "1", "places": {}})
    assert served(tmp_path) is None


def test_vllm_holds_the_base_once_and_the_adapter_beside_it(run: RunFolder, tiny_model: Path, tmp_path: Path) -> None:
    config = TrainConfig.from_file(run.path / "config.json")
    words = vllm_arguments(run, config)
    assert words[:5] == ["--enable-lora", "--max-lora-rank", "16", "--lora-modules", f"small={run.final}"]
    assert words[5:] == ["--chat-template", str(run.final / "chat_template.jinja")]
    whole = finished(tmp_path / "whole", tiny_model)
    assert vllm_arguments(whole, config) == ["--gpu-memory-utilization", "0.45"]
    assert vllm_arguments(whole, config, ["--gpu-memory-utilization=0.3"]) == []


def test_a_base_that_is_an_adapter_is_nothing_for_vllm(run: RunFolder, tmp_path: Path) -> None:
    second = finished(tmp_path / "second", run.final)
    with pytest.raises(WinnowError, match=r"vLLM can't open the base of this run: .*final is an adapter") as raised:
        serve(second.path, by="vllm")
    assert raised.value.fix.startswith("serve it --by transformers")


def test_an_adapter_that_vllm_cannot_read_is_told(run: RunFolder, tiny_model: Path, tmp_path: Path) -> None:
    dora = finished(tmp_path / "dora", tiny_model, lora_variant="dora")
    dora.final.mkdir()
    (dora.final / "adapter_config.json").write_text('{"r": 8, "use_dora": true}')
    with pytest.raises(WinnowError, match=r"vLLM can't read this kind of adapter \(dora\)") as raised:
        vllm_arguments(dora, TrainConfig.from_file(dora.path / "config.json"))
    assert raised.value.fix.startswith("serve it --by transformers")

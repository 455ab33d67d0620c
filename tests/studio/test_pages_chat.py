"""The Chat page: what a run and its base say, side by side, as a server at an address says it."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.studio.pages import button, command, texts, write_run
from training.runs.run_folder import process_start


class Server(BaseHTTPRequestHandler):
    """Answers with who was asked what, or refuses long questions."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = [m["content"] for m in asked["messages"]]
        answer = {
            "choices": [
                {"message": {"content": f"{asked['model']} heard {' | '.join(said)}"}, "finish_reason": "stop"}
            ],
            "usage": {"completion_tokens": 7},
        }
        refused = asked["model"] == "base" and "too long" in said[-1]
        body = json.dumps({"error": {"message": "it does not fit"}} if refused else answer).encode()
        self.send_response(400 if refused else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args) -> None:
        pass


@pytest.fixture(scope="module")
def served(corpus):
    folder = write_run(corpus, "asked")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/v1"
    places = {"trained": {"address": address, "model": "asked"}, "base": {"address": address, "model": "base"}}
    state = {"pid": os.getpid(), "process_start": process_start(os.getpid()), "places": places, "by": "transformers"}
    (folder / "serving.json").write_text(json.dumps(state))
    yield folder
    server.shutdown()
    server.server_close()


def test_a_run_that_nobody_serves_says_how_to_serve_it_and_how_to_take_it_along(open_page, corpus) -> None:
    app = open_page("chat", run="first")
    assert not app.exception
    assert command(app, "serve-model") == f"winnow serve-model {corpus.path}/runs/first"
    assert command(app, "export-model").endswith(f"/runs/first {corpus.path}/models/first-merged --as merged")
    assert not app.chat_input
    app.text_input(key="export_push").set_value("someone/first").run()
    assert command(app, "export-model").endswith("--as merged --push someone/first")


def test_a_question_is_answered_by_both_and_each_goes_on_with_its_own_answers(open_page, served) -> None:
    app = open_page("chat", run="asked")
    app.chat_input[0].set_value("Hello").run()
    app.chat_input[0].set_value("And then?").run()
    assert not app.exception
    said = [element.value for element in app.text]
    assert said[:3] == ["Hello", "base heard Hello", "asked heard Hello"]
    assert said[4] == "base heard Hello | base heard Hello | And then?"
    assert said[5] == "asked heard Hello | asked heard Hello | And then?"
    assert "7 tokens in" in texts(app)
    button(app, "chat_new").click().run()
    assert not app.text


def test_a_refusal_stands_where_the_answer_would(open_page, served) -> None:
    app = open_page("chat", run="asked")
    app.chat_input[0].set_value("this is too long").run()
    assert [element.value for element in app.text] == ["this is too long", "asked heard this is too long"]
    assert "it does not fit" in texts(app)


def test_the_studio_holds_no_model(open_page, served) -> None:
    loaded = "torch" in sys.modules
    open_page("chat", run="asked").chat_input[0].set_value("Hello").run()
    assert ("torch" in sys.modules) == loaded


def test_a_run_whose_config_cannot_be_read_costs_the_others_nothing(open_page, corpus) -> None:
    folder = write_run(corpus, "newer")
    (folder / "config.json").write_text('{"a_field_of_a_later_version": 1}')
    try:
        app = open_page("chat", run="first")
        assert not app.exception
        assert "newer" not in app.selectbox[0].options
        assert "first" in app.selectbox[0].options
    finally:
        shutil.rmtree(folder)

"""The files and batches endpoints of OpenAI on this machine, scripted: each batch goes through the states given."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

from aiohttp import web

Line = dict[str, Any]
Work = Callable[[list[Line]], tuple[list[Line], list[Line]]]
"""Requests to lines of the output file and of the error file."""


def answered(request: Line, text: str) -> Line:
    body = {
        "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500},
    }
    response = {"status_code": 200, "request_id": "r", "body": body}
    return {"id": "b", "custom_id": request["custom_id"], "response": response, "error": None}


def failed(request: Line, status: int, message: str) -> Line:
    response = {"status_code": status, "request_id": "r", "body": {"error": {"message": message, "code": None}}}
    return {"id": "b", "custom_id": request["custom_id"], "response": response, "error": None}


def expired(request: Line) -> Line:
    error = {"code": "batch_expired", "message": "This request could not be executed before the batch expired."}
    return {"id": "b", "custom_id": request["custom_id"], "response": None, "error": error}


class BatchServer:
    """`with BatchServer(work, states) as server`; the last state is the one in which a batch ends."""

    def __init__(self, work: Work, states: tuple[str, ...] = ("validating", "in_progress", "completed")) -> None:
        self.work, self.states = work, states
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.refuse: tuple[int, str] | None = None
        """Status and message with which batches are not created."""
        self.lose_answer = False
        """Start the batch, but break the connection before anybody hears of it."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> BatchServer:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        return self

    def __exit__(self, *exception: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/v1/files", self._upload)
        app.router.add_get("/v1/files/{id}/content", self._content)
        app.router.add_post("/v1/batches", self._create)
        app.router.add_get("/v1/batches", self._list)
        app.router.add_get("/v1/batches/{id}", self._state)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.address = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["purpose"] == "batch"
        name = self._keep(form["file"].file.read())
        shown = {"id": name, "object": "file", "bytes": 1, "created_at": 0, "filename": "f", "purpose": "batch"}
        return web.json_response({**shown, "status": "processed"})

    def _keep(self, content: bytes) -> str:
        self.files[f"file-{len(self.files) + 1}"] = content
        return f"file-{len(self.files)}"

    async def _content(self, request: web.Request) -> web.Response:
        return web.Response(body=self.files[request.match_info["id"]])

    async def _create(self, request: web.Request) -> web.Response:
        asked = await request.json()
        if self.refuse is not None:
            error = {"message": self.refuse[1], "type": "error", "code": None}
            return web.json_response({"error": error}, status=self.refuse[0])
        name = f"batch_{len(self.batches) + 1}"
        self.batches[name] = {**asked, "looks": 0, "results": (None, None)}
        if self.lose_answer:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(self._shown(name))

    async def _list(self, request: web.Request) -> web.Response:
        shown = [self._shown(name) for name in reversed(self.batches)]
        return web.json_response({"object": "list", "data": shown, "has_more": False})

    async def _state(self, request: web.Request) -> web.Response:
        batch = self.batches[request.match_info["id"]]
        batch["looks"] += 1
        if self.states[min(batch["looks"], len(self.states) - 1)] in ("completed", "expired", "cancelled"):
            sent = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
            output, errors = self.work(sent)
            batch["results"] = tuple(
                self._keep("".join(json.dumps(line) + "\n" for line in lines).encode()) if lines else None
                for lines in (output, errors)
            )
        return web.json_response(self._shown(request.match_info["id"]))

    def _shown(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        state = self.states[min(batch["looks"], len(self.states) - 1)]
        shown = {k: batch[k] for k in ("input_file_id", "endpoint", "completion_window", "metadata")}
        shown |= {"id": name, "object": "batch", "created_at": 0, "status": state}
        shown |= {"output_file_id": batch["results"][0], "error_file_id": batch["results"][1]}
        if state == "failed":
            shown["errors"] = {"object": "list", "data": [{"code": "bad", "message": "Enqueued token limit reached"}]}
        return shown

"""Answers in a given structure: asked for by `response_format`, and tried out before anything rests on it.

A ladder: `json_schema` (strict), then `json_object`, then nothing but the words of the prompt. Servers exist that take
a parameter and ignore it, with HTTP 200 and free text; so each step is probed by a question whose natural answer it
forbids. The probes name the endpoint and are calls like any other: kept, and made once per endpoint and model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from curation.errors import ModelError
from curation.language_models.asking import completed
from curation.language_models.calls import CallStore
from curation.language_models.chat import KeptChat, open_chat_model
from curation.language_models.models import ChatRequest, Completion
from curation.language_models.prices import endpoint_of

Step = Literal["json_schema", "json_object", "prompt"]
LADDER: tuple[Step, ...] = ("json_schema", "json_object", "prompt")

UNLIKELY = "zq7-plum"
"""What no model would say unless it is made to."""
PROBE_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": [UNLIKELY]}},
    "required": ["city"],
    "additionalProperties": False,
}
_PROBES: dict[Step, str] = {
    "json_schema": 'Which city is the capital of France? Reply with one JSON object with the key "city".',
    "json_object": "Which city is the capital of France? Reply with one plain sentence, and without any JSON.",
}
PROBE_TOKENS = 1024
"""Thinking included."""


@dataclass(frozen=True, slots=True)
class Structure:
    """How an endpoint can be held to a structure."""

    step: Step
    notes: tuple[str, ...] = ()
    """Why not by the steps above it."""


def structured(schema: Mapping[str, Any], step: Step = "json_schema", name: str = "answer") -> dict[str, Any]:
    """Parameters of a request that hold its answer to a schema.

    With `json_object` the prompt must say the word JSON, which OpenAI demands, and describe the object, as it must
    with `prompt`, where no parameter is sent: see `in_words`.

    Args:
        schema: JSON Schema of an object.
        step: of the ladder; what the endpoint is known to do (see `structure_of`).
        name: of the schema; letters, digits, hyphens and underscores.
    """
    if step == "json_schema":
        described = {"name": name, "strict": True, "schema": strict(schema)}
        return {"response_format": {"type": "json_schema", "json_schema": described}}
    return {"response_format": {"type": "json_object"}} if step == "json_object" else {}


def in_words(schema: Mapping[str, Any]) -> str:
    """The end of a prompt that asks for a structure; harmless where `response_format` sees to it anyway."""
    written = json.dumps(schema, ensure_ascii=False)
    return f"Reply with one JSON object and nothing else. It must meet this JSON Schema:\n{written}"


def strict(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema as strict mode wants it: no other properties, all of them required, optional ones null instead."""
    found = {key: _strict_within(value) for key, value in schema.items()}
    properties = found.get("properties")
    if not isinstance(properties, dict):
        return found
    optional = set(properties) - set(schema.get("required", ()))
    found["properties"] = {
        name: {"anyOf": [inner, {"type": "null"}]} if name in optional else inner for name, inner in properties.items()
    }
    return {**found, "required": list(properties), "additionalProperties": False}


def _strict_within(value: Any) -> Any:
    if isinstance(value, list):
        return [_strict_within(inner) for inner in value]
    if not isinstance(value, Mapping):
        return value
    if "type" in value or "properties" in value:
        return strict(value)
    return {key: _strict_within(inner) for key, inner in value.items()}


def structure_of(spec: str, *, calls: Path | None, run: str) -> Structure:
    """Try out how a chat model can be held to a structure; at most two short calls, kept like all others.

    Args:
        spec: of the chat model.
        calls: the corpus' `calls.sqlite`; with it the model is asked once and for all.
        run: what the calls are recorded under.

    Raises:
        ModelError: the model can't be opened, or a probe failed for another reason than being refused.
    """
    with CallStore(calls) if calls else nullcontext() as store:
        return completed(_tried(open_chat_model(spec, calls=store, run=run)))


async def _tried(chat: KeptChat) -> Structure:
    try:
        return await structure(chat)
    finally:
        await chat.close()


async def structure(chat: KeptChat) -> Structure:
    """`structure_of` a chat model that is open.

    Raises:
        ModelError: as there.
    """
    endpoint = endpoint_of(chat.spec)
    notes: list[str] = []
    for step, question in _PROBES.items():
        reply = await chat.complete(_probe(step, question, endpoint))
        if reply.error is not None and not reply.refused:
            raise ModelError(
                f"Whether {endpoint} can answer in a given structure could not be tried out: {reply.error}",
                fix="run the same command again, or leave the structure to the prompt",
            )
        problem = _problem(step, reply)
        if problem is None:
            return Structure(step, tuple(notes))
        notes.append(f"{endpoint} {problem}")
    return Structure("prompt", tuple(notes))


def _probe(step: Step, question: str, endpoint: str) -> ChatRequest:
    """It names the endpoint, as the key of a call does not: two servers of one model may differ in this."""
    parameters = {"temperature": 0.0, "max_tokens": PROBE_TOKENS, **structured(PROBE_SCHEMA, step, "probe")}
    return ChatRequest((("user", f"{question}\n\n(A test of structured answers at {endpoint}.)"),), parameters)


def _problem(step: Step, reply: Completion) -> str | None:
    """What a reply shows that is wrong with a step; null where it was held to the structure."""
    if reply.refused:
        return f"refuses response_format {step}: {reply.error}"
    said = (reply.text or "").strip()
    try:
        value = json.loads(said)
    except ValueError:
        value = None
    if value == {"city": UNLIKELY} if step == "json_schema" else isinstance(value, dict):
        return None
    shown = f"it answered {' '.join(said.split())[:80]!r}" if said else "it gave no answer"
    return f"takes response_format {step} and ignores it: {shown}"

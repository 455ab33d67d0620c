"""Turns as a chat template can read them: reasoning kept or left out, tool calls in the template's words or in ours."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from training.data.mix_folder import Example

PLAIN_TEMPLATE = (
    "{% if bos_token %}{{ bos_token }}{% endif %}"
    "{% set end = eos_token or '<|im_end|>' %}"
    "{% if tools %}{{ '<|im_start|>system\\nFunctions that can be called:\\n' }}"
    "{% for tool in tools %}{{ tool | tojson + '\\n' }}{% endfor %}{{ end + '\\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}"
    "{% if m['role'] == 'assistant' %}{% generation %}"
    "{% if m['reasoning_content'] %}{{ '<think>\\n' + m['reasoning_content'] + '\\n</think>\\n\\n' }}{% endif %}"
    "{{ m['content'] }}"
    "{% for call in m['tool_calls'] or [] %}{{ '<tool_call>\\n' + call['function'] | tojson + '\\n</tool_call>' }}"
    "{% endfor %}{{ end }}{% endgeneration %}"
    "{% else %}{{ m['content'] + end }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""ChatML's layout for base models without a chat template. Turns end in the model's own end token, so that it learns to
stop with the token that generation waits for."""

NO_TOOLS = "the chat template does not say which tools there are: they are left out"
FOLDED_REASONING = "the chat template does not know reasoning: it is written before the answer, in <think> tags"
FOLDED_CALLS = "the chat template does not know tool calls: they are written as JSON, in <tool_call> tags"
LOST_REASONING = "reasoning before an answer is left out by the chat template, or cut off: it is not learned"

_THOUGHTS = ("reasoning_content", "reasoning", "thinking")


def adapted(example: Example, template: str, *, reasoning: str) -> tuple[Example, tuple[str, ...]]:
    """The example as the template takes it, and notes on what had to be written otherwise.

    Args:
        example: its messages; those of a document are left as they are.
        template: the chat template's text.
        reasoning: `keep` or `drop`, as in `TrainConfig`.
    """
    notes: dict[str, None] = {}
    sides = [
        None if side is None else tuple(_turn(m, template, reasoning, notes) for m in side)
        for side in (example.messages, example.rejected)
    ]
    if example.tools and "tools" not in template:
        notes[NO_TOOLS] = None
    return replace(example, messages=sides[0] or (), rejected=sides[1]), tuple(notes)


def reasoning_of(message: dict[str, Any]) -> str:
    """What was thought before an answer; empty where nothing is kept apart from it."""
    return next((str(message[name]) for name in _THOUGHTS if message.get(name)), "")


def without_reasoning(message: dict[str, Any]) -> dict[str, Any]:
    """The turn as an answer alone."""
    return {key: value for key, value in message.items() if key not in _THOUGHTS}


def _turn(message: dict[str, Any], template: str, reasoning: str, notes: dict[str, None]) -> dict[str, Any]:
    if message["role"] != "assistant":
        return message
    turn = dict(_answer_alone(message) if reasoning == "drop" else _with_reasoning(message, template, notes))
    if turn.get("tool_calls") and "tool_calls" not in template:
        notes[FOLDED_CALLS] = None
        calls = turn.pop("tool_calls")
        calls = calls if isinstance(calls, list) else [calls]
        written = "".join(f"<tool_call>\n{_json(_function(call))}\n</tool_call>" for call in calls)
        turn["content"] = turn["content"] + written
    return turn


def _answer_alone(message: dict[str, Any]) -> dict[str, Any]:
    from curation.language_models.thoughts import parted

    turn = without_reasoning(message)
    if not isinstance(turn["content"], str):
        return turn
    found = parted(turn["content"])
    return {**turn, "content": found.answer} if found.thoughts and not found.unfinished else turn


def _with_reasoning(message: dict[str, Any], template: str, notes: dict[str, None]) -> dict[str, Any]:
    thought = reasoning_of(message)
    if not thought:
        return message
    known = next((name for name in ("reasoning_content", "thinking") if _reads(template, name)), None)
    if known:
        return {**without_reasoning(message), known: thought}
    notes[FOLDED_REASONING] = None
    return {**without_reasoning(message), "content": f"<think>\n{thought}\n</think>\n\n{message['content']}"}


def _reads(template: str, key: str) -> bool:
    return any(written in template for written in (f".{key}", f"'{key}'", f'"{key}"'))


def _function(call: Any) -> Any:
    return call.get("function", call) if isinstance(call, dict) else call


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)

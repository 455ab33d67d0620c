"""The formats a mix can be written in: how a sample becomes a row, or why it can't."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from curation.sample import Message, Sample

Row = dict[str, Any]


def as_messages(sample: Sample) -> Row | str:
    """`messages`, and `tools` where there are some: TRL's conversational language modeling."""
    return {"messages": _turns(sample.messages), **_tools(sample)}


def as_prompt_completion(sample: Sample) -> Row | str:
    """`prompt` and `completion` as turns: TRL's conversational prompt-completion."""
    if not _answered(sample):
        return "it has no answer"
    return {"prompt": _turns(sample.messages[:-1]), "completion": _turns(sample.messages[-1:]), **_tools(sample)}


def as_preference(sample: Sample) -> Row | str:
    """`prompt`, `chosen` and `rejected` as turns: TRL's conversational preference."""
    if not sample.rejected:
        return "it is not a preference pair"
    split = max((i for i, m in enumerate(sample.messages) if m.role == "user"), default=-1) + 1
    if not 0 < split < len(sample.messages):
        return "it has no answer"
    prompt, chosen = sample.messages[:split], sample.messages[split:]
    return {"prompt": _turns(prompt), "chosen": _turns(chosen), "rejected": _turns(sample.rejected), **_tools(sample)}


def as_alpaca(sample: Sample) -> Row | str:
    """`instruction`, `input`, `output`; `system` and `history` where there are some."""
    if not _answered(sample) or sample.messages[-1].tool_calls or any(m.role == "tool" for m in sample.messages):
        return "it has no answer" if not _answered(sample) else "it calls tools"
    system = [m.content for m in sample.messages if m.role == "system"]
    turns = [m.content for m in sample.messages if m.role != "system"]
    roles = [m.role for m in sample.messages if m.role != "system"]
    if roles != ["user", "assistant"] * (len(roles) // 2):
        return "its turns do not alternate"
    instruction, extra = _split_input(turns[-2], sample)
    row: Row = {"instruction": instruction, "input": extra, "output": turns[-1]}
    if system:
        row["system"] = "\n\n".join(system)
    if len(turns) > 2:
        row["history"] = [[turns[i], turns[i + 1]] for i in range(0, len(turns) - 2, 2)]
    return row


def as_sharegpt(sample: Sample) -> Row | str:
    """`conversations` of `from` and `value`; `tools` where there are some."""
    row: Row = {"conversations": [_sharegpt(m) for m in sample.messages]}
    return {**row, **({"tools": sample.tools} if sample.tools else {})}


FORMATS: dict[str, Callable[[Sample], Row | str]] = {
    "messages": as_messages,
    "prompt-completion": as_prompt_completion,
    "alpaca": as_alpaca,
    "sharegpt": as_sharegpt,
    "preference": as_preference,
}


def _answered(sample: Sample) -> bool:
    return len(sample.messages) > 1 and sample.messages[-1].role == "assistant"


def _turns(messages: Sequence[Message]) -> list[Row]:
    rows = []
    for m in messages:
        row: Row = {"role": m.role, "content": m.content}
        if m.reasoning:
            row["reasoning"] = m.reasoning
        if m.tool_calls:
            row["tool_calls"] = _loaded(m.tool_calls)
        rows.append(row)
    return rows


def _tools(sample: Sample) -> Row:
    return {"tools": _loaded(sample.tools)} if sample.tools else {}


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _split_input(question: str, sample: Sample) -> tuple[str, str]:
    extra = sample.metadata.get("input")
    if isinstance(extra, str) and extra and question.endswith(f"\n\n{extra}"):
        return question.removesuffix(f"\n\n{extra}"), extra
    return question, ""


def _sharegpt(message: Message) -> Row:
    if message.tool_calls:
        return {"from": "function_call", "value": message.tool_calls}
    names = {"user": "human", "assistant": "gpt", "tool": "observation"}
    return {"from": names.get(message.role, message.role), "value": message.content}

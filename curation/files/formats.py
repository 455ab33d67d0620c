"""The formats a mix can be written in: how a sample becomes a row, or why it can't."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from curation.files.called_functions import loaded
from curation.sample import REJECTED_DETAILS, TURN_DETAILS, Message, Sample, is_document
from curation.texts.code_answers import entry_point_of, known_tests
from curation.texts.final_answers import expected_answer

Row = dict[str, Any]


def as_messages(sample: Sample) -> Row | str:
    """`messages`, and `tools` where there are some: TRL's conversational language modeling. A `label` stays."""
    label = {} if sample.label is None else {"label": sample.label}
    return _nothing_to_learn(sample) or {"messages": _turns(sample), **_tools(sample), **label, **_checks(sample)}


def as_prompt_completion(sample: Sample) -> Row | str:
    """`prompt` and `completion` as turns: TRL's conversational prompt-completion."""
    reason = _nothing_to_learn(sample) or _unanswered(sample)
    if reason:
        return reason
    turns = _turns(sample)
    return {"prompt": turns[:-1], "completion": turns[-1:], **_tools(sample), **_checks(sample)}


def as_unpaired_preference(sample: Sample) -> Row | str:
    """`prompt` and `completion` as turns and `label`: TRL's conversational unpaired preference, for KTO."""
    if sample.label is None:
        return "it has no label"
    reason = _no_conversation(sample) or _unanswered(sample)
    if reason:
        return reason
    turns = _turns(sample)
    return {"prompt": turns[:-1], "completion": turns[-1:], "label": sample.label, **_tools(sample)}


def as_preference(sample: Sample) -> Row | str:
    """`prompt`, `chosen` and `rejected` as turns: TRL's conversational preference."""
    if not sample.rejected:
        return "it is not a preference pair"
    split = chosen_from(sample.messages, sample.rejected)
    if isinstance(split, str):
        return split
    turns = _turns(sample)
    rejected = _with_details(sample.rejected, sample.metadata.get(REJECTED_DETAILS))
    return {"prompt": turns[:split], "chosen": turns[split:], "rejected": rejected, **_tools(sample)}


def as_alpaca(sample: Sample) -> Row | str:
    """`instruction`, `input`, `output`; `system` and `history` where there are some."""
    reason = _nothing_to_learn(sample) or _unanswered(sample) or _beyond_alpaca(sample)
    if reason:
        return reason
    system = [m.content for m in sample.messages if m.role == "system"]
    turns = [m.content for m in sample.messages if m.role != "system"]
    instruction, extra = _split_input(turns[-2], sample)
    row: Row = {"instruction": instruction, "input": extra, "output": turns[-1]}
    if system:
        row["system"] = system[0]
    if len(turns) > 2:
        row["history"] = [[turns[i], turns[i + 1]] for i in range(0, len(turns) - 2, 2)]
    return row


def as_sharegpt(sample: Sample) -> Row | str:
    """`conversations` of `from` and `value`; `tools` where there are some."""
    reason = _nothing_to_learn(sample)
    if reason:
        return reason
    if any(m.reasoning for m in sample.messages):
        return "it has reasoning, which the format can't hold"
    if any(m.tool_calls and m.content for m in sample.messages):
        return "it has text beside a tool call, which the format can't hold"
    row: Row = {"conversations": [_sharegpt(m) for m in sample.messages]}
    return {**row, **({"tools": sample.tools} if sample.tools else {})}


def as_text(sample: Sample) -> Row | str:
    """`text`: TRL's standard language modeling, for documents only; a conversation needs a template to be a text."""
    if not is_document(sample.messages):
        return "it is a conversation, not a document"
    text = sample.messages[0].content
    return {"text": text} if text.strip() else "it is empty"


FORMATS: dict[str, Callable[[Sample], Row | str]] = {
    "messages": as_messages,
    "prompt-completion": as_prompt_completion,
    "alpaca": as_alpaca,
    "sharegpt": as_sharegpt,
    "preference": as_preference,
    "unpaired-preference": as_unpaired_preference,
    "text": as_text,
}


def _nothing_to_learn(sample: Sample) -> str | None:
    """Why a model should not imitate this sample; null if it should."""
    if sample.label is False:
        return "it is labelled undesirable"
    reason = _no_conversation(sample)
    if reason:
        return reason
    answer = next((m for m in reversed(sample.messages) if m.role == "assistant"), None)
    if answer is None:
        return "it has no answer"
    return None if answer.content.strip() or answer.tool_calls else "its answer is empty"


def _no_conversation(sample: Sample) -> str | None:
    return "it is a document, which only the format text can hold" if is_document(sample.messages) else None


def _unanswered(sample: Sample) -> str | None:
    answered = len(sample.messages) > 1 and sample.messages[-1].role == "assistant"
    return None if answered else "it has no answer"


def _beyond_alpaca(sample: Sample) -> str | None:
    if any(m.tool_calls or m.role == "tool" for m in sample.messages):
        return "it calls tools"
    if sample.tools:
        return "it has tools, which the format can't hold"
    if any(m.reasoning for m in sample.messages):
        return "it has reasoning, which the format can't hold"
    roles = [m.role for m in sample.messages]
    if "system" in roles[1:]:
        return "its system message does not come first"
    rest = roles[1:] if roles[0] == "system" else roles
    return None if rest == ["user", "assistant"] * (len(rest) // 2) else "its turns do not alternate"


def chosen_from(messages: Sequence[Message], rejected: Sequence[Message]) -> int | str:
    """Where the chosen side begins: a sample keeps only that both sides follow the same prompt.

    Sides that go on over several questions have the same roles; else both answer the last question.
    """
    roles, others = [m.role for m in messages], [m.role for m in rejected]
    if others[0] != "assistant":
        return "its rejected side does not begin with an answer"
    if "user" in others:
        split = len(roles) - len(others)
        alike = split > 0 and roles[split:] == others
        return split if alike else "its chosen and rejected turns can't be told apart from the prompt"
    split = max((i for i, role in enumerate(roles) if role == "user"), default=-1) + 1
    if not 0 < split < len(roles):
        return "it has no answer"
    # With tool calls after the question, the rejected side may begin at any of the chosen side's answers.
    alike = roles[split:] == others or roles[split:].count("assistant") == 1
    return split if alike else "its chosen and rejected turns can't be told apart from the prompt"


NAMED = ("name", "tool_call_id")
"""What a turn says beside its message that chat templates read."""


def _turns(sample: Sample) -> list[Row]:
    return _with_details(sample.messages, sample.metadata.get(TURN_DETAILS))


def _with_details(messages: Sequence[Message], details: Any) -> list[Row]:
    rows = []
    details = details if isinstance(details, dict) else {}
    for place, m in enumerate(messages):
        row: Row = {"role": m.role, "content": m.content}
        if m.reasoning:
            row["reasoning"] = m.reasoning
        if m.tool_calls:
            row["tool_calls"] = loaded(m.tool_calls)
        more = details.get(str(place))
        rows.append(row | {k: more[k] for k in NAMED if k in more} if isinstance(more, dict) else row)
    return rows


def _tools(sample: Sample) -> Row:
    return {"tools": loaded(sample.tools)} if sample.tools else {}


def _checks(sample: Sample) -> Row:
    """What an answer can be verified by, where the metadata has it: `reference`, `tests`, `entry_point`."""
    found = {
        "reference": expected_answer(sample.metadata),
        "tests": known_tests(sample.metadata),
        "entry_point": entry_point_of(sample.metadata),
    }
    return {name: value for name, value in found.items() if value}


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

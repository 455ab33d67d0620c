"""Personal data out of the texts."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from curation.normalizers.passages import settled
from curation.operators import Normalizer, parted
from curation.sample import Message
from curation.texts import personal_data

Kind = Literal["email", "ip", "id", "card", "phone"]


class Redact(Normalizer):
    """Personal data becomes placeholders such as [EMAIL], in every turn, its reasoning, its tool calls and its code.

    Every address and number of a kind gets the same placeholder, so that question and answer still agree. Only the new
    version is without them: the old one stays in the corpus, as do metadata and the ingested file.

    Source: the kinds, and that only public IP addresses are personal, from datatrove's PIIFormatter; check digits from
    ISO/IEC 7812 (cards) and GB 11643 (resident numbers).
    Differs from the source: telephone, id and card numbers too; a placeholder instead of an invented address.
    """

    name: ClassVar[str] = "redact"

    kinds: Annotated[tuple[Kind, ...], BeforeValidator(parted)] = Field(
        ("email", "ip", "id", "card", "phone"), min_length=1, description="Which personal data is replaced"
    )

    def normalize(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        new = tuple(self._turn(m) for m in messages)
        return messages if new == messages else new

    def _turn(self, message: Message) -> Message:
        return message._replace(
            content=redacted(message.content, self.kinds),
            reasoning=redacted(message.reasoning, self.kinds) if message.reasoning else message.reasoning,
            tool_calls=_in_json(message.tool_calls, self.kinds) if message.tool_calls else message.tool_calls,
        )


def redacted(text: str, kinds: Collection[str] = personal_data.KINDS) -> str:
    """The text with a placeholder for every piece of personal data of these kinds."""
    return settled(text, lambda old: _replaced(old, kinds))


def _replaced(text: str, kinds: Collection[str]) -> str:
    parts, start = [], 0
    for found in personal_data.spans(text, kinds):
        parts += [text[start : found.start], f"[{found.kind.upper()}]"]
        start = found.end
    return "".join([*parts, text[start:]]) if parts else text


def _in_json(text: str, kinds: Collection[str]) -> str:
    # A number must become a quoted placeholder, and a text in JSON may be JSON itself: arguments of calls often are.
    try:
        value = json.loads(text)
    except ValueError:
        return redacted(text, kinds)
    new = _in_value(value, kinds)
    return text if new == value else json.dumps(new, ensure_ascii=False)


def _in_value(value: Any, kinds: Collection[str], name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _in_value(inner, kinds, str(key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [_in_value(inner, kinds, name) for inner in value]
    if isinstance(value, str) and value[:1] in "{[":
        return _in_json(value, kinds)
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        # The name of a field announces what it holds.
        told = f"{name}: "
        new = redacted(f"{told}{value}", kinds)
        return new.removeprefix(told) if new != f"{told}{value}" and new.startswith(told) else value
    return value

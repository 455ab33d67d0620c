"""From conversations to token ids and the mask of the tokens that carry loss.

Where the chat template marks what the assistant says (`{% generation %}`), the marks are used. Where it does not, the
conversation is rendered turn by turn and the token ids are compared: an answer is what the longer rendering has beyond
the shorter one that ends in the assistant's header. What can't be told apart this way carries no loss.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from training.data.mix_folder import Example

Tokenizer = Any
"""A Hugging Face tokenizer; transformers is loaded only where one is opened."""

PLAIN_TEMPLATE = (
    "{% if bos_token %}{{ bos_token }}{% endif %}"
    "{% set end = eos_token or '<|im_end|>' %}"
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] + end }}{% endgeneration %}"
    "{% else %}{{ m['content'] + end }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""ChatML's layout for base models without a chat template. Turns end in the model's own end token, so that it learns to
stop with the token that generation waits for."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One sample as the model reads it."""

    id: str
    source: str
    ids: list[int]
    loss: list[bool]
    """Per token whether it carries loss; the first never does, nothing comes before it."""
    truncated: bool = False

    @property
    def labels(self) -> list[int]:
        """The ids that carry loss, -100 elsewhere."""
        return [token if carries else -100 for token, carries in zip(self.ids, self.loss, strict=True)]


@dataclass(slots=True)
class Account:
    """What became of the rows; filled while they are encoded."""

    rows: int = 0
    tokens: int = 0
    loss_tokens: int = 0
    truncated: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """Reason -> rows."""

    def add(self, encoded: Encoded) -> None:
        """Count a row that is kept."""
        self.rows += 1
        self.tokens += len(encoded.ids)
        self.loss_tokens += sum(encoded.loss)
        self.truncated += encoded.truncated


class Encoder:
    """Encodes conversations with one tokenizer, one length and one choice of what carries loss."""

    def __init__(self, tokenizer: Tokenizer, *, max_length: int, loss_on: str = "assistant") -> None:
        """Keep the parameters; a tokenizer without a chat template is given the plain one.

        Args:
            tokenizer: its `chat_template` is set where it has none.
            max_length: tokens; what is longer is cut at the end.
            loss_on: `assistant`, `last` or `all`, as in `TrainConfig`.
        """
        self.uses_plain_template = not tokenizer.chat_template
        if self.uses_plain_template:
            tokenizer.chat_template = PLAIN_TEMPLATE
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.loss_on = loss_on
        template = tokenizer.chat_template
        # A slow tokenizer can't tell which characters a token stands for, and so has no use for the marks.
        self.marks_answers = "endgeneration" in str(template) and tokenizer.is_fast
        self._special = set(tokenizer.all_special_ids)

    def encode(self, example: Example) -> Encoded | str:
        """The sample, or the reason why it can't be trained on."""
        from jinja2.exceptions import TemplateError

        try:
            ids, loss = self._masked(example)
        except (TemplateError, TypeError, ValueError) as error:
            return f"the chat template refuses it: {error}"
        if not any(loss):
            return "no assistant turn could be found in it"
        if not any(loss[: self.max_length]):
            return f"its answer lies beyond max_length {self.max_length}"
        cut = len(ids) > self.max_length
        return Encoded(example.id, example.source, ids[: self.max_length], loss[: self.max_length], cut)

    def encode_all(self, examples: Iterable[Example], account: Account) -> Iterator[Encoded]:
        """The samples that can be trained on, in order; `account` counts them and the others."""
        for example in examples:
            encoded = self.encode(example)
            if isinstance(encoded, str):
                account.dropped[encoded] += 1
            else:
                account.add(encoded)
                yield encoded

    def ends_turns(self, encoded: Encoded) -> bool:
        """Whether the last token that carries loss is one that ends a turn; else the model never learns to stop."""
        last = max(i for i, carries in enumerate(encoded.loss) if carries)
        return encoded.truncated or encoded.ids[last] in self._special

    def _masked(self, example: Example) -> tuple[list[int], list[bool]]:
        ids, mask = self._marked(example) if self.marks_answers else self._compared(example)
        if self.loss_on == "all":
            mask = [True] * len(ids)
        elif self.loss_on == "last":
            mask = _last_run(mask)
        return ids, [carries and i > 0 for i, carries in enumerate(mask)]

    def _marked(self, example: Example) -> tuple[list[int], list[bool]]:
        ids, mask = self._render(example, masked=True)
        if any(m["role"] == "assistant" for m in example.messages[: example.answers_from]):
            prompt, _ = self._render(example, upto=example.answers_from)
            start = _common_prefix(prompt, ids)
            mask = [carries and i >= start for i, carries in enumerate(mask)]
        return ids, mask

    def _compared(self, example: Example) -> tuple[list[int], list[bool]]:
        ids, mask = self._render(example)
        for i, message in enumerate(example.messages):
            if message["role"] == "assistant" and i >= example.answers_from:
                self._mark(example, i, ids, mask)
        return ids, mask

    def _mark(self, example: Example, turn: int, ids: list[int], mask: list[bool]) -> None:
        """Set the mask of one turn; leave it where the rendering of the turns so far is not how the whole begins."""
        if turn == 0:  # nothing before it that a header could be told from
            return
        before, _ = self._render(example, upto=turn, header=True)
        through, _ = self._render(example, upto=turn + 1)
        last = turn + 1 == len(example.messages)
        start, end = len(before), len(ids) if last else len(through)
        if _common_prefix(before, ids) < start or (not last and _common_prefix(through, ids) < end):
            return
        end_of_turn = [i for i in range(start, end) if ids[i] in self._special]
        # Templates put a line break after the end of the turn: it belongs to nobody.
        for i in range(start, end_of_turn[-1] + 1 if end_of_turn else end):
            mask[i] = True

    def _render(
        self, example: Example, *, upto: int | None = None, header: bool = False, masked: bool = False
    ) -> tuple[list[int], list[bool]]:
        rendered = self.tokenizer.apply_chat_template(
            list(example.messages[:upto]),
            tools=list(example.tools) if example.tools else None,
            add_generation_prompt=header,
            return_assistant_tokens_mask=masked,
            return_dict=True,
        )
        ids = list(rendered["input_ids"])
        mask = [bool(m) for m in rendered["assistant_masks"]] if masked else [False] * len(ids)
        return ids, mask


def rejected_side(example: Example) -> Example:
    """The conversation that was not preferred: the same prompt, then the rejected turns."""
    prompt = example.messages[: example.answers_from]
    return replace(example, messages=(*prompt, *(example.rejected or ())), rejected=None)


def prefix_of_tokens(encoded: Iterable[Encoded], budget: int) -> Iterator[Encoded]:
    """The rows from the first on whose tokens together come nearest to `budget`."""
    total = 0
    for row in encoded:
        after = total + len(row.ids)
        if after > budget and after - budget > budget - total:
            return
        yield row
        total = after
        if total >= budget:
            return


def _common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _last_run(mask: list[bool]) -> list[bool]:
    end = next((i for i in range(len(mask) - 1, -1, -1) if mask[i]), -1)
    start = end
    while start > 0 and mask[start - 1]:
        start -= 1
    return [start <= i <= end for i in range(len(mask))]

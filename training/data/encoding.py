"""From conversations to token ids and the mask of the tokens that carry loss.

Where the chat template marks what the assistant says (`{% generation %}`), the marks are used. Where it does not, the
conversation is rendered turn by turn and the token ids are compared: an answer is what the longer rendering has beyond
the shorter one that ends in the assistant's header. What can't be told apart this way carries no loss. Documents, which
have no turns, carry loss on every token, end in the end token, and are split where they are too long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from training.config import TrainConfig
from training.data.mix_folder import Example
from training.data.turns import LOST_REASONING, PLAIN_TEMPLATE, adapted, reasoning_of, without_reasoning

Tokenizer = Any
"""A Hugging Face tokenizer; transformers is loaded only where one is opened."""


_OTHER = "\x02"
"""Said in place of a turn, to see what of the rendering is that turn: no text begins or ends with it."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One sample as the model reads it."""

    id: str
    source: str
    ids: list[int]
    loss: list[bool]
    """Per token whether it carries loss; the first never does, nothing comes before it."""
    truncated: bool = False
    stage: str | None = None
    """The stage of a staged mix; null where it has none."""
    continues: bool = False
    """Whether it begins in the middle of a document, after the row before it."""
    goes_on: bool = False
    """Whether the document goes on in the row after it."""
    notes: tuple[str, ...] = ()
    """What the template could not take as it was."""

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
    notes: Counter[str] = field(default_factory=Counter)
    """What the chat template could not take as it was -> rows that were written otherwise."""

    def add(self, encoded: Encoded) -> None:
        """Count a row that is kept."""
        self.rows += 1
        self.tokens += len(encoded.ids)
        self.loss_tokens += sum(encoded.loss)
        self.truncated += encoded.truncated
        self.notes.update(encoded.notes)


class Encoder:
    """Encodes conversations with one tokenizer, one length and one choice of what carries loss."""

    def __init__(
        self, tokenizer: Tokenizer, *, max_length: int, loss_on: str = "assistant", reasoning: str = "keep"
    ) -> None:
        """Keep the parameters; a tokenizer without a chat template is given the plain one.

        Args:
            tokenizer: its `chat_template` is set where it has none.
            max_length: tokens; what is longer is cut at the end.
            loss_on: `assistant`, `last` or `all`, as in `TrainConfig`.
            reasoning: `keep` or `drop`, as in `TrainConfig`.
        """
        self.uses_plain_template = not tokenizer.chat_template
        if self.uses_plain_template:
            tokenizer.chat_template = PLAIN_TEMPLATE
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.loss_on = loss_on
        self.reasoning = reasoning
        self._template = str(tokenizer.chat_template)
        # A slow tokenizer can't tell which characters a token stands for, and so has no use for the marks.
        self.marks_answers = "endgeneration" in self._template and tokenizer.is_fast
        self._special = set(tokenizer.all_special_ids)
        self._ends = self._ends_of_turns()

    @classmethod
    def of(cls, tokenizer: Tokenizer, config: TrainConfig) -> Self:
        """The encoder of a run: sft learns what the config says, continued pre-training whole texts, others answers."""
        loss_on = {"sft": config.loss_on, "pretrain": "all"}.get(config.method, "assistant")
        return cls(tokenizer, max_length=config.max_length, loss_on=loss_on, reasoning=config.reasoning)

    def prepared(self, example: Example) -> Example:
        """The example as the chat template takes it: reasoning kept or dropped, tool calls in words it knows."""
        return adapted(example, self._template, reasoning=self.reasoning)[0]

    def encode(self, example: Example) -> Encoded | str:
        """The sample, or the reason why it can't be trained on; of a long document only the beginning."""
        if example.text is not None:
            pieces = self._document(example)
            return pieces if isinstance(pieces, str) else replace(pieces[0], truncated=pieces[0].goes_on)
        from jinja2.exceptions import TemplateError

        example, notes = adapted(example, self._template, reasoning=self.reasoning)
        try:
            ids, loss = self._masked(example)
        except (TemplateError, TypeError, ValueError) as error:
            return f"the chat template refuses it: {error}"
        if not any(loss):
            return "no assistant turn could be found in it"
        if not any(loss[: self.max_length]):
            return f"its answer lies beyond max_length {self.max_length}"
        if self._loses_reasoning(example, ids, loss):
            notes = (*notes, LOST_REASONING)
        cut = len(ids) > self.max_length
        ids, loss = ids[: self.max_length], loss[: self.max_length]
        return Encoded(example.id, example.source, ids, loss, cut, example.stage, notes=notes)

    def pieces(self, example: Example) -> list[Encoded] | str:
        """The rows that a sample becomes: one, but for documents longer than max_length."""
        if example.text is not None:
            return self._document(example)
        encoded = self.encode(example)
        return encoded if isinstance(encoded, str) else [encoded]

    def encode_all(self, examples: Iterable[Example], account: Account) -> Iterator[Encoded]:
        """The rows that can be trained on, in order; `account` counts them and the samples that can't."""
        for example in examples:
            pieces = self.pieces(example)
            if isinstance(pieces, str):
                account.dropped[pieces] += 1
                continue
            for piece in pieces:
                account.add(piece)
                yield piece

    def ends_turns(self, encoded: Encoded) -> bool:
        """Whether the last token that carries loss is one that ends a turn; else the model never learns to stop."""
        last = max((i for i, carries in enumerate(encoded.loss) if carries), default=None)
        return last is None or encoded.truncated or encoded.goes_on or encoded.ids[last] in self._special

    def _ends_of_turns(self) -> set[int]:
        """The end token, and what special token ends the answer of a conversation."""
        from jinja2.exceptions import TemplateError

        said = Example("", "", ({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}))
        try:
            ids, _ = self._render(said)
        except (TemplateError, TypeError, ValueError):
            ids = []
        last = next((i for i in reversed(ids) if i in self._special), None)
        return {i for i in (self.tokenizer.eos_token_id, last) if i is not None}

    def _document(self, example: Example) -> list[Encoded] | str:
        text = example.text or ""
        if not text.strip():
            return "it is an empty document"
        ids = list(self.tokenizer(text, verbose=False)["input_ids"])
        end = self.tokenizer.eos_token_id
        if end is not None and ids[-1:] != [end]:
            ids.append(end)
        if len(ids) < 2:
            return "it has no token that could be predicted from another"
        found = [ids[i : i + self.max_length] for i in range(0, len(ids), self.max_length)]
        if len(found[-1]) == 1:  # alone it has nothing to be predicted from
            found[-1].insert(0, found[-2].pop())
        return [
            Encoded(
                example.id,
                example.source,
                piece,
                [i > 0 for i in range(len(piece))],
                stage=example.stage,
                continues=number > 0,
                goes_on=number + 1 < len(found),
            )
            for number, piece in enumerate(found)
        ]

    def _loses_reasoning(self, example: Example, ids: list[int], loss: list[bool]) -> bool:
        """Whether something that was thought in the turns that are learned carries no loss."""
        turns = [m for m in example.messages[example.answers_from :] if m["role"] == "assistant"]
        thoughts = [thought for m in turns[-1 if self.loss_on == "last" else 0 :] if (thought := reasoning_of(m))]
        if not thoughts:
            return False
        learned = "".join(self.tokenizer.decode([t for t, carries in zip(ids, loss, strict=True) if carries]).split())
        return any("".join(thought.split()) not in learned for thought in thoughts)

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
        """Set the mask of one turn; leave it where nothing of the rendering is certain to be of that turn."""
        if turn == 0:  # nothing before it that a header could be told from
            return
        last = turn + 1 == len(example.messages)
        start = self._start(example, turn, ids)
        end = len(ids) if last else self._end(example, turn, ids)
        if start is None or end is None or end < start:
            start, end = self._changed(example, turn, ids)
        end_of_turn = [i for i in range(start, end) if ids[i] in self._special]
        # Templates put a line break after the end of the turn: it belongs to nobody.
        for i in range(start, end_of_turn[-1] + 1 if end_of_turn else end):
            mask[i] = True

    def _start(self, example: Example, turn: int, ids: list[int]) -> int | None:
        """Where an answer begins; null where the turns before it are not how the whole begins."""
        with_header, _ = self._render(example, upto=turn, header=True)
        same = _common_prefix(with_header, ids)
        if same == len(with_header):
            return same
        # The header that asks for an answer may say more than the one before an answer that is there: `<think>`.
        without, _ = self._render(example, upto=turn)
        return same if same > len(without) else None

    def _end(self, example: Example, turn: int, ids: list[int]) -> int | None:
        """Where a turn that is not the last one ends; null where it is not rendered there as it is at the end."""
        through, _ = self._render(example, upto=turn + 1)
        if _common_prefix(through, ids) == len(through):
            return len(through)
        # Many templates leave out what was thought before earlier answers.
        bare = without_reasoning(example.messages[turn])
        messages = (*example.messages[:turn], bare, *example.messages[turn + 1 :])
        through, _ = self._render(replace(example, messages=messages), upto=turn + 1)
        return len(through) if _common_prefix(through, ids) == len(through) else None

    def _changed(self, example: Example, turn: int, ids: list[int]) -> tuple[int, int]:
        """What is rendered otherwise when the turn says something else: for templates whose earlier turns change.

        The turn's end is the next token where that ends turns.
        """
        said = {key: _OTHER if key != "role" and value else value for key, value in example.messages[turn].items()}
        said = {key: value for key, value in {**said, "content": _OTHER}.items() if key != "tool_calls"}
        messages = (*example.messages[:turn], said, *example.messages[turn + 1 :])
        other, _ = self._render(replace(example, messages=messages))
        start = _common_prefix(other, ids)
        after = min(_common_prefix(other[::-1], ids[::-1]), len(ids) - start, len(other) - start)
        end = len(ids) - after
        if start < end < len(ids) and ids[end] in self._ends:
            end += 1
        return start, end

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

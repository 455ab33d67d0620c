"""Self-Instruct: new instructions that go on with a list of known ones, and worked examples of each."""

from __future__ import annotations

import random
import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, PrivateAttr

from curation.language_models.models import ChatRequest, Completion
from curation.operators import parted
from curation.sample import Message, Sample
from synthesis.elimination import plain, same_text, unusable, word_count
from synthesis.known_texts import Objection
from synthesis.reply_parts import Names, said_yes, several
from synthesis.rouge import ClosestTexts
from synthesis.synthesizer import Call, Outcome, Steps, Synthesizer

BEYOND_TEXT = (
    *("image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps"),
    *("draw", "plot", "go to"),
    *("图片", "图像", "照片", "画出", "绘制", "附件", "地图"),
)
"""What a text model can't see or do; the English words are the source's."""
PARTS: Names = {
    "input": ("input", "inputs", "sentence", "paragraph", "输入", "输入内容"),
    "output": ("output", "correct output", "class label", "label", "answer", "输出", "类别", "标签", "答案"),
}
_NUMBERED = re.compile(
    r"^\s*[*_]*(?:(?:task|instruction|任务|指令)\s*)?[(（]?\d{1,3}[*_]*(?:[.)、．:：]|）)[ \t*_]*", re.I | re.M
)


class SelfInstruct(Synthesizer):
    """Write new instructions after known ones, sort out what is too much alike, and work out examples of the rest.

    Each seed sample begins a list: it, other seed samples and instructions made in earlier rounds are shown in random
    order, and the model goes on with the list. The samples shown become the parents of what comes of it.

    Source: Self-Instruct (Wang et al. 2022, arXiv:2212.10560) and its repository: 6 seed and 2 made instructions in a
    prompt, temperature 0.7, top-p 0.5, presence penalty 2, 3 to 150 words, ROUGE-L 0.7, output first for
    classifications, at most 5 examples.
    Differs from the source: own prompts, for chat models, which part the lines of a list by blank lines, so that none
    stops them; a truncated list loses its last line only. Made instructions are those of earlier rounds, so that a
    resumed run is the same; those of one round are compared with each other at its end, and with the rest of the corpus
    by the acceptance rule `max_rouge`. Instructions need not begin with an ASCII character: Chinese ones count a
    character as a word. Examples may have 1,024 tokens, not 350, and a classification is asked for in up to 16 tokens,
    not 3.
    """

    name: ClassVar[str] = "self-instruct"
    prompts: ClassVar[tuple[str, ...]] = (
        "self_instruct", "self_instruct_class", "self_instruct_input_first", "self_instruct_output_first",
    )  # fmt: skip
    version: ClassVar[int] = 2
    in_rounds: ClassVar[bool] = True
    seeds_per_shard: ClassVar[int] = 8

    new_instructions: int = Field(8, ge=1, le=30, description="New instructions that one prompt asks for.")
    shown_seeds: int = Field(6, ge=1, le=20, description="Seed samples that one prompt shows.")
    shown_made: int = Field(2, ge=0, le=20, description="Instructions of earlier rounds that it shows; seeds at first.")
    lists: int = Field(1, ge=1, le=100, description="Lists that each seed sample begins.")
    examples: int = Field(1, ge=1, le=5, description="Worked examples of an instruction at most; the source has 5.")
    max_rouge: float = Field(0.7, gt=0, le=1, description="Reject a new instruction above this ROUGE-L to a known one.")
    min_words: int = Field(4, ge=1, description="Words of an instruction at least; a Chinese character is one.")
    max_words: int = Field(150, ge=1, description="Words of an instruction at most.")
    blocked: Annotated[tuple[str, ...], BeforeValidator(parted)] = Field(
        BEYOND_TEXT, description="Words that an instruction must not hold: what a text model can't see or do."
    )
    temperature: float = Field(0.7, ge=0, le=2, description="Sampling temperature of lists; examples are made with 0.")
    top_p: float | None = Field(0.5, gt=0, le=1, description="Nucleus sampling of lists.")
    presence_penalty: float | None = Field(
        2.0, ge=-2, le=2, description="Penalty on words that a list has already; examples have three quarters of it."
    )
    max_tokens: int = Field(1024, ge=1, description="Tokens of one answer at most.")

    _seeds: tuple[Sample, ...] = PrivateAttr(())
    _made: tuple[Sample, ...] = PrivateAttr(())
    _known: ClosestTexts | None = PrivateAttr(None)

    def suits(self, sample: Sample) -> bool:
        """One instruction in one turn, short enough for a list."""
        one_turn = sum(m.role == "user" for m in sample.messages) == 1
        return super().suits(sample) and one_turn and word_count(sample.instruction) <= self.max_words

    def among(self, seeds: Sequence[Sample], made: Sequence[Sample]) -> Self:
        """This synthesizer, showing these samples; what it knows already is not indexed again."""
        mine = self.model_copy()
        mine._seeds, mine._made = tuple(seeds), tuple(_distinct(made))
        known = self._known if self._known is not None and len(self._seeds) == len(seeds) else ClosestTexts()
        everything = [*mine._seeds, *mine._made]
        new = everything[len(known) :]
        known.add([s.id for s in new], [instruction_alone(s) for s in new])
        mine._known = known
        return mine

    def among_each_other(self, made: list[tuple[Sample, Outcome]]) -> list[tuple[Sample, Outcome]]:
        """The lists of a round, begun without knowing of each other: of like instructions the first list's is kept."""
        here = ClosestTexts()
        fates: dict[tuple[str, str], Objection | None] = {}  # the examples of an instruction stay together
        passed = []
        for sample, outcome in made:
            if outcome.rejected_by is None:
                one = sample.id, str(outcome.metadata["instruction"])
                if one not in fates:
                    found = here.closest(one[1], self.max_rouge)
                    fates[one] = self._alike(*found) if found else None
                    here.add([] if found else [f"another list: {one[1][:80]}"], [] if found else [one[1]])
                if fate := fates[one]:
                    outcome = replace(outcome, rejected_by=fate[0], detail=fate[1])
            passed.append((sample, outcome))
        return passed

    def steps(self, sample: Sample, rng: random.Random) -> Steps:
        """One outcome per example, and one per instruction that was rejected."""
        outcomes: list[Outcome] = []
        for number in range(self.lists):
            shown = self._shown(sample, rng)
            call = Call("instructions", self._list_request(shown, number))
            completion = yield call
            outcomes += yield from self._from_list(shown, call, completion)
        return outcomes

    def _shown(self, sample: Sample, rng: random.Random) -> list[Sample]:
        """This seed sample, others and made ones, in random order."""
        made = rng.sample(self._made, min(self.shown_made, len(self._made)))
        others = [seed for seed in self._seeds if seed.id != sample.id]
        wanted = self.shown_seeds + self.shown_made - len(made) - 1
        shown = [sample, *rng.sample(others, min(max(0, wanted), len(others))), *made]
        rng.shuffle(shown)
        return shown

    def _list_request(self, shown: list[Sample], number: int) -> ChatRequest:
        lines = [f"{place}. {' '.join(instruction_alone(s).split())}" for place, s in enumerate(shown, 1)]
        text = self.fill("self_instruct", count=self.new_instructions, next=len(shown) + 1, list="\n".join(lines))
        parameters = {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens}
        parameters |= {"presence_penalty": self.presence_penalty} if self.presence_penalty else {}
        return ChatRequest((("user", text),), parameters, sample_index=number)

    def _from_list(
        self, shown: list[Sample], call: Call, completion: Completion
    ) -> Generator[Call | tuple[Call, ...], Any, list[Outcome]]:
        parents = tuple(s.id for s in shown)
        lines = numbered_lines(completion.text or "", cut=completion.finish_reason == "length")
        if not lines:
            rule, seen = unusable(completion.text or "", completion.finish_reason) or ("unreadable", "no list in it")
            turns = (Message("assistant", completion.text or ""),)
            return [Outcome(turns, (call,), rejected_by=rule, detail=seen, parents=parents)]
        new = [_New(line, call, parents) for line in lines[: self.new_instructions]]
        self._sort_out(new)
        good = [one for one in new if one.objection is None]
        if good:
            yield from self._worked_out(good)
        return [outcome for one in new for outcome in one.outcomes()]

    def _sort_out(self, new: list[_New]) -> None:
        """Reject what is too short or long, beyond text, or too much like a known one or one before it in the list."""
        here = ClosestTexts()
        for place, one in enumerate(new):
            one.objection = self._fault(one.instruction)
            if one.objection is None:
                found = self._known.closest(one.instruction, self.max_rouge) if self._known is not None else None
                found = found or here.closest(one.instruction, self.max_rouge)
                one.objection = self._alike(*found) if found else None
            if one.objection is None:
                here.add([f"line {place + 1}"], [one.instruction])

    def _alike(self, known: str, rouge: float) -> Objection:
        return "near-duplicate", f"ROUGE-L {rouge:.3f}, above {self.max_rouge:g}, to {known}"

    def _fault(self, instruction: str) -> Objection | None:
        words = word_count(instruction)
        if not self.min_words <= words <= self.max_words:
            return "length", f"{words} words, not {self.min_words} to {self.max_words}"
        for word in self.blocked:
            edge = r"\b" if word.isascii() else ""
            if re.search(rf"{edge}{re.escape(word)}{edge}", instruction, re.IGNORECASE):
                return "beyond-text", f"holds {word!r}"
        if re.match(r"(?i)write a program\b", instruction):
            return "beyond-text", "begins with 'Write a program'"
        if not instruction[0].isalnum() and instruction[0] not in "\"'“‘「《【$":
            return "format", f"begins with {instruction[0]!r}"
        return None

    def _worked_out(self, new: list[_New]) -> Generator[Call | tuple[Call, ...], Any, None]:
        asked = tuple(self._call("classify", one, "self_instruct_class", 16) for one in new)
        verdicts: list[Completion] = yield asked
        for one, call, said in zip(new, asked, verdicts, strict=True):
            one.classification = said_yes(said.text or "")
            one.calls.append(call)
        names = ("self_instruct_input_first", "self_instruct_output_first")
        asked = tuple(self._call("examples", one, names[bool(one.classification)], self.max_tokens) for one in new)
        replies: list[Completion] = yield asked
        for one, call, reply in zip(new, asked, replies, strict=True):
            one.calls.append(call)
            one.read(reply, self.examples)

    def _call(self, step: str, one: _New, prompt: str, max_tokens: int) -> Call:
        filled = {"instruction": one.instruction} | ({} if step == "classify" else {"count": self.examples})
        parameters: dict[str, Any] = {"temperature": 0.0, "max_tokens": max_tokens}
        if step == "examples" and self.presence_penalty:
            parameters["presence_penalty"] = 0.75 * self.presence_penalty
        return Call(step, ChatRequest((("user", self.fill(prompt, **filled)),), parameters))


@dataclass
class _New:
    """A new instruction, and what becomes of it."""

    instruction: str
    call: Call
    parents: tuple[str, ...]
    objection: Objection | None = None
    classification: bool | None = None
    calls: list[Call] = field(default_factory=list)
    examples: list[tuple[str, str, Objection | None]] = field(default_factory=list)
    """Input, output, and what is wrong with them."""

    def read(self, reply: Completion, most: int) -> None:
        """Take the examples of a reply; what can't be read is kept as it is, and rejected."""
        text = reply.text or ""
        found = worked_examples(text)
        cut = reply.finish_reason == "length"
        if not found or (cut and len(found) == 1):
            broken = unusable(text, reply.finish_reason) or ("unreadable", "no line Output: in it")
            self.examples = [("", text, broken)]
            return
        found = found[: -1 if cut else None][:most]
        outputs: dict[str, set[str]] = {}
        for given, answer in found:
            outputs.setdefault(plain(given), set()).add(plain(answer))
        self.examples = [
            (given, answer, self._fault(given, answer, len(outputs[plain(given)]))) for given, answer in found
        ]

    def _fault(self, given: str, answer: str, outputs: int) -> Objection | None:
        if not answer:
            return "empty", "the output is empty"
        if given and same_text(given, answer):
            return "input-is-output", "input and output are the same"
        if answer.endswith((":", "：")):
            return "format", f"the output ends with a colon: {answer[-30:]!r}"
        return ("contradiction", f"{outputs} different outputs for the same input") if outputs > 1 else None

    def outcomes(self) -> list[Outcome]:
        """One for each example, or the one instruction that was rejected."""
        calls = (self.call, *self.calls)
        if self.objection is not None:
            asked = (Message("user", self.instruction),)
            name, found = self.objection
            return [Outcome(asked, calls, rejected_by=name, detail=found, parents=self.parents)]
        made = []
        for given, answer, fault in self.examples:
            text = f"{self.instruction}\n\n{given}" if given else self.instruction
            metadata = {"instruction": self.instruction, "classification": self.classification}
            rule, seen = fault or (None, None)
            turns = (Message("user", text), Message("assistant", answer))
            made.append(Outcome(turns, calls, metadata, rejected_by=rule, detail=seen, parents=self.parents))
        return made


def instruction_alone(sample: Sample) -> str:
    """The instruction of a sample without the input that was worked out for it."""
    return str(sample.metadata.get("instruction") or sample.instruction)


def numbered_lines(reply: str, *, cut: bool = False) -> list[str]:
    """The entries of a list in a reply, JSON or numbered or a line each; with `cut` the last one is left out.

    An entry may run over several lines where the list is numbered.
    """
    from synthesis.reply_parts import listed

    marks = list(_NUMBERED.finditer(reply))
    if len(marks) > 1:
        ends = [mark.start() for mark in marks[1:]] + [len(reply)]
        entries = [reply[mark.end() : end] for mark, end in zip(marks, ends, strict=True)]
    else:
        entries = listed(reply)
        if not marks and "[" not in reply and not re.search(r"(?m)^\s*[-*•·]\s", reply):
            entries = [entry for entry in entries if not entry.endswith((":", "："))]
            entries = entries if len(entries) > 1 else []  # one line of prose is no list
    entries = entries[:-1] if cut else entries
    texts = [re.sub(r"\s*\n\s*", " ", entry).strip().strip("*_").strip() for entry in entries]
    texts = [re.sub(r"^(?:instruction|task|指令|任务)\s*[:：]\s*", "", text, flags=re.I) for text in texts]
    return list(dict.fromkeys(text for text in texts if text))


def worked_examples(reply: str) -> list[tuple[str, str]]:
    """(input, output) of each example in a reply, whichever comes first; an input of `none` is none."""
    starts = re.search(r"(?im)^[\s*#\"{]*(output|label|class label|correct output|输出|类别|标签)", reply)
    first_input = re.search(r"(?im)^[\s*#\"{]*(input|输入)", reply)
    output_first = bool(starts and (first_input is None or starts.start() < first_input.start()))
    names = {name: PARTS[name] for name in (("output", "input") if output_first else ("input", "output"))}
    found = []
    for group in several(reply, names):
        given = group.get("input", "").strip()
        nothing = re.fullmatch(r"(?i)[\s<(\[（]*(?:none|n/a|no ?input|empty|无|没有|空)[\s>)\]）.。]*", given)
        if "output" in group or given:
            found.append(("" if nothing else given, group.get("output", "").strip()))
    return found if any(answer for _, answer in found) else []


def _distinct(made: Sequence[Sample]) -> list[Sample]:
    """The first sample of each instruction, in order."""
    first: dict[str, Sample] = {}
    for sample in made:
        first.setdefault(instruction_alone(sample), sample)
    return list(first.values())

"""Rules that reject what went wrong in generation. Each returns what it saw, or null where it has no objection.

Sources: Evol-Instruct (Xu et al. 2023, arXiv:2304.12244), "Elimination Evolving": no information gain, "sorry" in a
short answer, only punctuation and stop words, words of the prompt copied. Auto Evol-Instruct (Zeng et al. 2024,
arXiv:2406.00770), failure detection in answers: stagnant complexity, insufficient qualification, loss of key
information. Both are about English; the Chinese patterns are added here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

AnswerRule = Callable[[str], str | None]

SORRY_WORDS = 80
"""An apology in fewer words than this is a refusal: "contains 'sorry' and is relatively short (i.e., less than 80)"."""

PROMPT_WORDS = (
    *("given prompt", "rewritten prompt", "created prompt", "#the given", "#rewritten", "#created"),
    *("given instruction", "rewritten instruction", "created instruction", "#verdict"),
    *("给定的指令", "给定指令", "改写后的指令", "重写后的指令", "改写的指令", "创建的指令"),
)

_ENGLISH = """
a about above after again against all am an and any are as at be because been before being below between both but by
can could did do does doing down during each few for from further had has have having he her here hers him his how i if
in into is it its itself just me more most my no nor not now of off ok okay on once only or other our out over own same
she should so some such than that the their them then there these they this those through to too under until up very
was we well were what when where which while who whom why will with would yes you your yours
"""
ENGLISH_STOP_WORDS = frozenset(_ENGLISH.split())
CHINESE_STOP_WORDS = (
    *(
        "因为",
        "所以",
        "但是",
        "然后",
        "而且",
        "或者",
        "如果",
        "这个",
        "那个",
        "这些",
        "那些",
        "什么",
        "怎么",
        "可以",
        "没有",
    ),
    *("我们", "你们", "他们", "它们", "自己", "就是", "还是", "不是", "一个", "一些", "已经", "的话", "好的", "是的"),
    *"的了是在我你他她它们这那有和与及或就都也还又而但不没很更最被把对从到向于以为之其个着过吗呢吧啊哦嗯呀么好",
)
_CHINESE_STOP = re.compile("|".join(sorted(CHINESE_STOP_WORDS, key=len, reverse=True)))
_CJK = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")

_REFUSAL = re.compile(
    r"^\W*(?:i['’]?m (?:very |really |truly )?sorry|i am sorry|sorry,|i (?:can(?:no|['’])t|am unable to|"
    r"won['’]t be able to|must decline)|i['’]m unable to|unfortunately,? i (?:can|am)|as an ai\b|i apologi[sz]e|"
    r"(?:很|非常|十分)?(?:抱歉|对不起)|我(?:无法|不能|没有办法)|作为(?:一个|一名)?(?:AI|人工智能|语言模型))",
    re.IGNORECASE,
)


def word_count(text: str) -> int:
    """Words; each Chinese character counts as one."""
    return len(_CJK.findall(text)) + len(_WORD.findall(_CJK.sub(" ", text)))


def same_text(first: str, second: str) -> bool:
    """Whether two texts differ in case, white space and the punctuation around them at most."""
    return plain(first) == plain(second)


def plain(text: str) -> str:
    """The text in lower case with single spaces, without punctuation around it: equal for the same text."""
    return re.sub(r"\s+", " ", text).strip(" \"'.,;:!?…。，；：！？“”「」").casefold() or text.strip()


def prompt_leak(evolved: str, given: str, copied: Sequence[str] = PROMPT_WORDS) -> str | None:
    """Words of the prompt that were copied into the new text (and did not stand in the given one)."""
    low, before = evolved.lower(), given.lower()
    leaked = [words for words in copied if words in low and words not in before]
    return f"copies {leaked[0]!r} from the prompt" if leaked else None


def sorry(answer: str) -> str | None:
    """An apology and little else."""
    apology = re.search(r"\bsorry\b|抱歉|对不起", answer, re.IGNORECASE)
    words = word_count(answer)
    return f"{apology.group()!r} in {words} words" if apology and words < SORRY_WORDS else None


def only_stop_words(answer: str) -> str | None:
    """Nothing but punctuation and stop words, English or Chinese."""
    rest = _CHINESE_STOP.sub(" ", answer)
    content = bool(_CJK.search(rest)) or any(w.lower() not in ENGLISH_STOP_WORDS for w in _WORD.findall(rest))
    return None if content else f"no word with content in {answer[:40]!r}"


def stagnant_complexity(answer: str) -> str | None:
    """Begins like "Understood" or "Thank you" and ends with a question: it took the instruction for small talk."""
    return _begins_and_asks(answer, ("understood", "thank you", "明白", "好的，明白", "谢谢", "感谢"))


def insufficient_qualification(answer: str) -> str | None:
    """Begins with "Sure" and ends with a question: the instruction does not say enough."""
    return _begins_and_asks(answer, ("sure", "当然"))


def loss_of_key_information(answer: str) -> str | None:
    """Asks to "please provide" something: what the instruction was about got lost."""
    asked = re.search(r"please provide|请提供|请您提供", answer, re.IGNORECASE)
    return f"asks: {asked.group()!r}" if asked else None


def refusal(answer: str) -> str | None:
    """Begins as refusals do."""
    begun = _REFUSAL.search(answer)
    return f"begins with {begun.group().strip()!r}" if begun else None


EVOLUTION_RULES: tuple[tuple[str, AnswerRule], ...] = (
    ("sorry", sorry),
    ("only-stop-words", only_stop_words),
    ("stagnant-complexity", stagnant_complexity),
    ("insufficient-qualification", insufficient_qualification),
    ("loss-of-key-information", loss_of_key_information),
)
"""For the answer to an evolved instruction, in the order in which they are asked."""


def first_violation(answer: str, rules: Sequence[tuple[str, AnswerRule]]) -> tuple[str, str] | None:
    """Name and finding of the first rule that objects."""
    for name, rule in rules:
        if seen := rule(answer):
            return name, seen
    return None


def unusable(text: str, finish_reason: str | None) -> tuple[str, str] | None:
    """Whether there is no whole text: it was cut off at the length limit, filtered, or is empty."""
    if finish_reason == "length" and not text.strip():
        return "truncated", "thinking took all the tokens before the answer: raise max_tokens or let it think less"
    if finish_reason == "length":
        return "truncated", "cut off at the length limit: raise max_tokens"
    if finish_reason == "content_filter":
        return "filtered", "the endpoint's content filter stopped it"
    if not text.strip():
        return "empty", "nothing but reasoning or white space"
    return None


def _begins_and_asks(answer: str, beginnings: tuple[str, ...]) -> str | None:
    text = answer.strip()
    if text.lower().startswith(beginnings) and text.endswith(("?", "？")):
        return f"begins with {text[:20]!r} and ends with a question"
    return None

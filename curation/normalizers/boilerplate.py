"""Phrases that stand before or after an answer and say nothing."""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import Field

from curation.normalizers.passages import settled
from curation.operators import Normalizer
from curation.sample import Message

_YES = (
    r"(?:sure(?: thing)?|certainly|of course|absolutely|definitely|gladly|no problem|with pleasure|okay|ok|alright"
    r"|(?:that(?:'|’)s an? )?(?:great|good|excellent|interesting) question|great choice"
    r"|thank(?:s| you) for (?:your question|asking|the question))"
)
_GLAD = (
    r"(?:i(?:'|’)?(?: woul)?d be (?:happy|glad|delighted) to (?:help|assist)|i(?: can|(?:'|’)ll| will)"
    r"(?: certainly| gladly| definitely)? (?:help|assist) you"
    r"|(?:i(?:'|’)m )?(?:more than )?(?:happy|glad) to (?:help|assist))"
)
_HERE = (
    r"(?:here (?:is|are)|here(?:'|’)s|below (?:is|are)|the following (?:is|are)|this is) "
    r"(?:the|an?|my|your|some|one|two|three|four|five|six|ten|[0-9]+)\b[^\n:!?`]{0,120}:[ \t]*\n+"
)
_ZH_YES = (
    r"(?:当然(?:可以|了|没问题)?|好的|没问题|可以的"
    r"|很高兴(?:能)?(?:帮助|为)(?:你|您)(?:解答|服务)?|这是一?个很?好的?问题)"
)
_ZH_HERE = r"(?:以下|下面|这里|这)(?:是|就是|有|为)[^\n：:。！？]{0,40}[：:][ \t]*\n+"

_ASSENT = re.compile(rf"\s*(?:{_YES}[!.]\s+(?=\S)|{_ZH_YES}[！!。]\s*(?=\S))", re.IGNORECASE)
_PROMISE = re.compile(
    rf"\s*(?:(?:{_YES}[,!.] *)?{_GLAD}\b[^\n.!?:]{{0,60}}[.!]\s+(?=\S)"
    rf"|(?:{_ZH_YES}[，,！!。])?我很?(?:乐意|愿意|高兴)能?(?:为|帮)助?(?:你|您)[^\n。！：]{{0,20}}[。！]\s*(?=\S))",
    re.IGNORECASE,
)
_ASSENT_AND_HERE = re.compile(rf"\s*(?:{_YES}[,!.]\s*{_HERE}|{_ZH_YES}[，,！!。]\s*{_ZH_HERE})(?=\s*\S)", re.IGNORECASE)
_HERE_ALONE = re.compile(rf"\s*(?:{_HERE}|{_ZH_HERE})(?=\s*\S)", re.IGNORECASE)

_ASK = (
    r"(?:(?:please )?(?:feel free|(?:don(?:'|’)t|do not) hesitate) to "
    r"(?:ask|reach out|contact me|let me know|message me)"
    r"|(?:please )?(?:just )?let me know)"
)
_NEED = r"(?:questions?|help|assistance|clarification|anything else|further|more (?:information|details|examples))"
_CLOSING = re.compile(
    r"(?:\n\s*|(?<=[.!?)。！？])\s*)(?:"
    r"(?:i )?(?:really |sincerely )?hope (?:this|that|these|it|my) [^.!?\n]{0,40}"
    r"(?:helps?(?: you)?|helped|(?:is|was|are) (?:helpful|useful)|answers your question)\b[^.!?\n]{0,40}[.!]"
    rf"|{_ASK}\b[^.!?\n]{{0,60}}\b{_NEED}\b[^.!?\n]{{0,60}}[.!]"
    rf"|if (?:you (?:have|need|want|would like)|there(?:'|’)s)[^.!?\n]{{0,80}}, {_ASK}\b[^.!?\n]{{0,60}}[.!]"
    r"|is there anything else (?:i can|you(?:'|’)d like|you would like|you need)[^.!?\n]{0,60}\?"
    r"|happy coding!"
    r"|希望(?:这|以上|上述|我的|能)[^。！？\n]{0,24}(?:帮助|帮到|有用)[^。！？\n]{0,8}[。！!]"
    r"|如果?(?:你|您)?(?:还|仍)?(?:有|需要)[^。！？\n]{0,30}(?:告诉我|提问|问我|联系我|告知我|咨询我|提出)[^。！？\n]{0,6}[。！!]"
    r"|(?:还有|请问还有)[^。！？\n]{0,16}(?:需要|可以)[^。！？\n]{0,8}帮[^。！？\n]{0,8}吗[？?]"
    r")\s*\Z",
    re.IGNORECASE,
)
_CLOSING_WORDS = ("hope", "let me know", "feel free", "hesitate", "anything else", "happy coding", "希望", "如", "还有")
_OPENING_WORDS = re.compile(
    rf"\s*(?:{_YES}\b|{_GLAD}|here |here['’]s|below |the following |this is "
    r"|当然|好的|没问题|可以的|很高兴|这|我|以下|下面)",
    re.IGNORECASE,
)
_SAID = ("let me know", "feel free", "hesitate", "hope th", "anything else", "告诉我", "随时", "希望")
"""What makes a closing part of the matter where the prompt says it too: a text to be rewritten or translated."""
LONGEST_CLOSING = 220
"""Characters at the end of an answer in which a closing is looked for."""

_YES_OR_NO = re.compile(
    r"(?:^|[.!?,\n]\s*)(?:is|are|am|was|were|do|does|did|can|could|should|would|will|has|have|had|may|might)"
    r"(?:n(?:'|’)t)?\b(?<!can)(?<!could)(?<!would)(?<!will)[^?\n]*\?"
    r"|(?:^|[.!?,\n]\s*)(?:can|could|would|will)\b(?! you\b)[^?\n]*\?"
    r"|\b(?:right|correct|true|agree)\s*\?|吗|是否|是不是|能不能|可不可以|会不会|对不对|有没有",
    re.IGNORECASE,
)
_A_TEXT_TO_SEND = re.compile(
    r"e-?mail|\bletters?\b|\bmessages?\b|\breply\b|\brespon[ds]|\bdialog|\bconversation|\bscript\b|\bchat|\bnote\b|\bspeech"
    r"|\binvit|customer|\btweet|\bpost\b|\bstory\b|\brole|\bpretend|\bimagine|邮件|信|短信|回复|对话|通知|留言|客服|客户|扮演|故事",
    re.IGNORECASE,
)


class Boilerplate(Normalizer):
    """Strips openings ("Certainly! Here is a list:") and closings ("I hope this helps!") of answers.

    English and Chinese, assistant turns only, and never all of an answer. Left as they are: an assent where the last
    question asks yes or no (there it is the answer), phrases that the prompt has as well, and answers to prompts
    that ask for a letter, a message, a dialogue and the like, where such phrases belong to the text. "Here is ...:" is
    stripped behind an assent only, unless `announcements` is set.

    Source: none; the phrases are our own.
    """

    name: ClassVar[str] = "boilerplate"

    openings: bool = Field(True, description="Strip openings")
    closings: bool = Field(True, description="Strip closings")
    announcements: bool = Field(False, description='Strip a first line such as "Here are five tips:" by itself too')

    def normalize(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        asked: list[str] = []
        new = []
        for message in messages:
            if message.role == "user":
                asked.append(message.content)
            new.append(self._turn(message, asked) if message.role == "assistant" else message)
        return messages if tuple(new) == messages else tuple(new)

    def _turn(self, message: Message, asked: list[str]) -> Message:
        text = message.content
        begins = self.openings and _OPENING_WORDS.match(text)
        end = text[-LONGEST_CLOSING:].lower() if self.closings else ""
        if not begins and not any(word in end for word in _CLOSING_WORDS):
            return message
        if any(_A_TEXT_TO_SEND.search(question) for question in asked):
            return message
        new = settled(text, lambda old: self._stripped(old, asked))
        return message if new == text else message._replace(content=new)

    def _stripped(self, text: str, asked: list[str]) -> str:
        if self.openings:
            text = self._opened(text, asked)
        return _without(text, _CLOSING, asked) if self.closings else text

    def _opened(self, text: str, asked: list[str]) -> str:
        expressions = [_ASSENT_AND_HERE, _PROMISE]
        if asked and not _YES_OR_NO.search(asked[-1]):
            expressions.append(_ASSENT)
        if self.announcements:
            expressions.append(_HERE_ALONE)
        for expression in expressions:
            text = _without(text, expression, asked)
        return text


def _without(text: str, expression: re.Pattern[str], asked: list[str]) -> str:
    """The text without what the expression finds at one end of it, where words are left and the prompt lacks it."""
    if expression is _CLOSING:
        start = max(0, len(text) - LONGEST_CLOSING)
        found = expression.search(text, start)
    else:
        found = expression.match(text)
    if found is None:
        return text
    phrase = found.group().strip().lower()
    left = text[found.end() :].lstrip("\n") if found.start() == 0 else text[: found.start()].rstrip()
    said = [phrase, *(words for words in _SAID if words in phrase)]
    quoted = any(words in question.lower() for question in asked for words in said)
    return text if quoted or not any(c.isalnum() for c in left) else left

"""How instructions set constraints on the form of an answer, in English and Chinese: patterns and numbers in words.

Written for this project. A pattern is only as wide as it stays sure: what may be about the material of a request, and
not about the answer, is left out.
"""

from __future__ import annotations

import re

_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
_TENS = {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "eighty": 80, "hundred": 100}
NUMBERS = {**{word: number for number, word in enumerate(_WORDS)}, **_TENS, "a": 1, "an": 1, "single": 1}
_DIGITS_ZH = {"零": 0, "一": 1, "两": 2, "二": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9}

N = rf"(?P<n>\d{{1,3}}(?:,\d{{3}})+|\d{{1,5}}|(?:a )?hundred|{'|'.join(_WORDS[1:])}|thirty|forty|fifty|sixty|eighty)"
N_ZH = r"(?P<n>\d{1,5}|[一两二三四五六七八九十百千]{1,6})"
UNIT = r"(?P<unit>words?|sentences?|paragraphs?|bullet points?|bullets|characters)"
_ENDS = r"(?=\s*(?:$|[.,;:!?)\n]|long\b|in length\b|in total\b|total\b|maximum\b|max\b|or (?:less|fewer|more)\b))"
_FOLLOWS = (
    r"(?=\s*(?:$|[.,;:!?)\n]|about\b|on\b|or (?:less|fewer|more)\b|long\b|in length\b|in total\b|max\b|each\b|the\b"
    r"|how\b|why\b|what\b|and\b|describing\b|explaining\b|summari[sz]ing\b"
    r"|to (?:describe|explain|summari[sz]e|introduce)\b))"
)
_ENGLISH = (
    # (which way, pattern); the first that matches at a place counts
    (
        "between",
        (
            rf"(?:between|in|from|of|with|using)?\s*{N}\s*(?:-|–|to|and|or)\s*(?P<m>\d+"
            rf"|{'|'.join(_WORDS[2:])})[\s-]+{UNIT}{_FOLLOWS}"
        ),
    ),
    (
        "most",
        r"(?:at most|no more than|not more than|not longer than|no longer than|a maximum of|maximum|max\.?|up to"
        rf"|under|fewer than|less than|within|not exceed(?:ing)?|below|limited to|limit of"
        rf"|keep it to)\s+{N}\s+{UNIT}{_ENDS}",
    ),
    ("most", rf"\b{N}\s+{UNIT}\s+or\s+(?:less|fewer)\b"),
    ("most", rf"\b{N}[\s-]{UNIT}\s+(?:limit|maximum|max)\b"),
    (
        "least",
        (
            rf"(?:at least|no less than|no fewer than|not less than|a minimum of|minimum"
            rf"|more than)\s+{N}\s+{UNIT}{_ENDS}"
        ),
    ),
    ("least", rf"\b{N}\s+{UNIT}\s+or\s+more\b"),
    (
        "exactly",
        (
            rf"\b(?:in|with|using|of|to|into|be|be exactly|write|has|have)\s+(?:exactly|precisely|only"
            rf"|just)\s+{N}\s+{UNIT}{_FOLLOWS}"
        ),
    ),
    ("about", rf"\b(?:in|of|with|using|write|be)\s+(?:about|around|approximately|roughly)\s+{N}\s+{UNIT}{_ENDS}"),
    (
        "in",
        (
            rf"\b(?:in|using|into|to|with)\s+(?:only |just )?{N}\s+(?:short |simple |concise |brief |full "
            rf"|complete )?{UNIT}{_FOLLOWS}"
        ),
    ),
    (
        "in",
        (
            rf"\bin\s+(?:only |just )?(?P<n>an?|a single|one|single)\s+(?:short |simple |concise |brief |full "
            rf"|complete )?(?P<unit>word|sentence|paragraph){_FOLLOWS}"
        ),
    ),
    (
        "size",
        (
            rf"\b(?:write|create|compose|generate|provide|give|produce|draft|make)\b[^.;:\n]{{0,40}}?\ban?\s+{N}-"
            rf"(?P<unit>word|sentence|paragraph)\s"
        ),
    ),
)
_CHINESE = (
    ("between", rf"{N_ZH}(?:个?字)?\s*(?:-|–|—|~|～|到|至)\s*(?P<m>\d{{1,5}})\s*(?:个)?(?P<unit>字)(?!母|符|体|节|段)"),
    (
        "most",
        rf"(?:不超过|不多于|不要超过|不能超过|最多|至多|少于|控制在|限制在|限)\s*"
        rf"{N_ZH}\s*(?:个)?(?P<unit>字|句话|段)(?!母|符|体|节|以上|左右|的词)",
    ),
    ("most", rf"{N_ZH}\s*(?:个)?(?P<unit>字)(?:以内|之内|以下)"),
    ("least", rf"(?:至少|不少于|不低于|最少|多于)\s*{N_ZH}\s*(?:个)?(?P<unit>字)(?!母|符|体|节|段|的词)"),
    ("least", rf"{N_ZH}\s*(?:个)?(?P<unit>字)以上"),
    ("about", rf"(?:大约|约|大概)?\s*{N_ZH}\s*(?:个)?(?P<unit>字)(?:左右|上下)"),
    (
        "in",
        rf"(?:用|以)(?:简短的)?{N_ZH}(?P<unit>句话|段话)"
        rf"(?=[^，。；\n]{{0,8}}(?:描述|概括|总结|概述|说明|解释|介绍|回答|表达|形容|归纳|来|$|[，。；\n]))",
    ),
    ("size", rf"(?:写|撰写|创作|生成|编写)(?:出)?一[篇段个份封][^，。；\n]{{0,6}}?{N_ZH}(?P<unit>字)的"),
)
SIZES = tuple((way, re.compile(pattern, re.IGNORECASE)) for way, pattern in (*_ENGLISH, *_CHINESE))

LOOKED_FOR = re.compile(
    r"(?i)\b(?:find|list|identify|name|suggest|choose|pick|underline|add|replace|remove|count|select"
    r"|extract|think of|come up with|using the following|these|following)\b[^.;\n]{0,25}$"
)
"""Where this stands before a number that no `in` begins, the words or sentences are what is looked for or given."""
A_PART = re.compile(r"(?i)\b(?:title|headline|slogan|name|subject line|tagline)s?\b|其中|标题|口号")
"""Where this stands before it in the sentence, a number may be of a part of the answer."""
OF_PARTS = re.compile(r"(?i)\b(?:each|every|per)\b|[每各]")
TELLING = re.compile(r"(?i)\b(?:summari|describ|explain|answer|respond|express|state|tell|defin|outlin|sum up|put it)")
"""`In a sentence` is about the answer where the answer is to tell something; `use it in a sentence` is not."""
GIVEN = re.compile(
    r"(?i)\b(?:not|never|without|avoid)\s*$|n['’]t\s*$|\b(?:highlight|find|identify|underline|locate|count"
    r"|select|remove"
    r"|replace|delete|search|circle|rhymes?|synonyms?|antonyms?)\b"
)
"""Where this stands before `containing the word`, the word is looked for in what is given, or is not to be used."""
AFTER_A_SIZE = re.compile(
    r"(?i)\s*(?:each|per|for each|every|or phrases?|that\b|which\b|from\b|in the\b|per\b|每"
    r"|的(?!短?文|作文|散文|小?故事|小说|回答|总结|摘要|概[述括]|介绍|描述|说明|诗|信|报告|演讲|段落|评论|简介))"
)
CODE = re.compile(
    r"(?i)\b(?:function|code|program|script|regex|regular expression|python|java|javascript|sql|query|algorithm|method"
    r"|class|html|css|string|array|input|variable|database|api)\b|函数|代码|程序|脚本|算法|字符串|数组|变量"
)
"""A request for code speaks of upper case, commas and words, but not of those of the answer."""

_QUOTE = r"[\"'“‘「『](?P<quoted>[^\"“”‘’「」『』\n]{1,80}?)[\"'”’」』]"
_IT = (
    r"(?:the |your |with the )*(?:entire |whole |final )*(?:answer|response|reply|output|essay|story|poem"
    r"|letter|email|paragraph|sentence|message|text|summary|article|post|it)"
)
STARTS = (
    re.compile(
        rf"(?i)\b(?:start|begin)s?\s+{_IT}\s+with(?: the)?(?: exact)?(?: word| phrase| words| sentence)?:?\s+{_QUOTE}"
    ),
    re.compile(rf"以(?:词语|短语|句子)?{_QUOTE}(?:作为)?(?:开头|开始|起头)(?!的(?!句子|故事|诗|文章|段落|回答|小说))"),
)
FINISHES = (
    re.compile(
        rf"(?i)\b(?:end|finish|conclude)s?\s+{_IT}\s+with(?: the)?(?: exact)?(?: word| phrase| words"
        rf"| sentence)?:?\s+{_QUOTE}"
    ),
    re.compile(rf"以(?:词语|短语|句子)?{_QUOTE}(?:作为)?(?:结尾|结束|收尾)(?!的(?!句子|故事|诗|文章|段落|回答|小说))"),
)
_NOT_USE = (
    r"(?:do(?:es)? not|doesn['’]t|don['’]t|must not|should not|never|without|avoid|refrain from)\s+"
    r"(?:us(?:e|ing)|includ(?:e|ing)|mention(?:ing)?|say(?:ing)?|contain(?:ing)?)"
)
AVOIDS = (
    re.compile(rf"(?i)\b{_NOT_USE}\s+(?:of )?(?:the |any )?(?:word|phrase|term|keyword|letter)s?\s+{_QUOTE}"),
    re.compile(
        rf"(?:不要|不能|不得|不可|禁止|避免)(?:使用|出现|包含|提到|提及|用到?)(?:词语|词|短语|字|单词)?{_QUOTE}"
    ),
)
_TEXTS = (
    r"(?:sentence|story|poem|couplet|proverb|paragraph|haiku|lyrics?|limerick|dialogue|essay|joke|verse|riddle|song"
    r"|letter|answer|response)"
)
HOLDS = (
    re.compile(
        rf"(?i)\b(?:includ(?:e|es|ing)|(?<!how to )(?<!can )(?<!you )us(?:e|es|ing)|contain(?:s|ing)?|mention(?:s|ing)?"
        rf"|incorporat(?:e|es|ing)|{_TEXTS}\s+with)"
        rf"\s+(?:both )?(?:the |following |exact )*(?:word|phrase|term|keyword)s?:?\s+{_QUOTE}(?P<more>"
        rf"(?:\s*(?:,|and|or|, and)?\s*{_QUOTE.replace('?P<quoted>', '')})*)"
    ),
    re.compile(
        rf"(?:必须|需要?|要|请)?(?:包含|包括|使用|用到?|提到|含有)(?:以下|下列)?(?:关键词|词语|词汇|单词|短语|词|字)[:：]?{_QUOTE}(?P<more>(?:\s*(?:、|，"
        rf"|和|以及|与)\s*{_QUOTE.replace('?P<quoted>', '')})*)"
    ),
)
ONE_QUOTED = re.compile(_QUOTE)
NO_COMMAS = (
    re.compile(rf"(?i)\b{_NOT_USE}\s+(?:of )?(?:any )?commas?\b|\bwithout (?:any )?commas?\b|\bno commas\b"),
    re.compile(r"(?:不要|不能|不得|禁止|避免)(?:使用|出现|用|有)?(?:任何)?逗号"),
)
_WRITES = (
    r"(?:write|respond|answer|reply|output|return|print|provide|give|produce|present|format|convert"
    r"|transform|put|make|should be|must be|rewrite)"
)
LOWER = (
    re.compile(
        rf"(?i)\b{_WRITES}\b[^.;\n]{{0,60}}\b(?:in|to|into|be)\s+(?:all |only |entirely )*"
        rf"(?:lower[\s-]?case)(?: letters| only)?(?=\s*(?:$|[.,;!)\n]))"
    ),
)
UPPER = (
    re.compile(
        rf"(?i)\b{_WRITES}\b[^.;\n]{{0,60}}\b(?:in|to|into|be)\s+(?:all |only |entirely )*(?:upper[\s-]?case"
        rf"|capital letters|caps)(?: letters| only)?(?=\s*(?:$|[.,;!)\n]))"
    ),
)
JSON = (
    re.compile(
        r"(?i)\b(?:answer|respond|reply|output|return|result|response|results|format|formatted|present|it|data"
        r"|information|table|list|them)\b[^.;\n]{0,30}\b(?:in|as|into|to)\s+(?:a |an )?(?:valid |proper )?json"
        r"(?: format| object| array| string| document)?(?=\s*(?:$|[.,;:!)\n]|with\b|containing\b))"
    ),
    re.compile(
        r"(?i)\b(?:output|return|respond with|answer with|reply with|generate|create|write|produce|provide"
        r"|construct)\s+(?:only )?(?:a |the )?(?:valid )?json (?:object|array|document|string)\b(?! schema)"
    ),
    re.compile(
        r"(?:以|用|按|成|为)\s*(?i:json)\s*(?:格式|对象|形式)?(?:来)?(?:返回|输出|回答|给出|表示|呈现|$|[，。；])"
    ),
)
BULLETS = (
    re.compile(
        r"(?i)\b(?:in|as|using|with|into)\s+(?:a |the |short )?(?:bullet(?:ed)?[\s-]?points?|bulleted list"
        r"|bullet list|bullets)(?=\s*(?:$|[.,;:!)\n]|form\b|format\b|list\b|about\b|on\b|the\b))"
    ),
    re.compile(r"(?:以|用)(?:项目符号|无序列表|要点)(?:列表)?(?:的)?(?:形式|方式|格式)?"),
)
NUMBERED = (
    re.compile(
        r"(?i)\b(?:in|as|using|with|create|write|provide|give|generate|make)\s+(?:a |an )?(?:numbered|ordered) list\b"
    ),
    re.compile(r"(?:以|用)(?:编号|有序)列表"),
)
LANGUAGES = {
    "chinese": r"[\u4e00-\u9fff]",
    "中文": r"[\u4e00-\u9fff]",
    "汉语": r"[\u4e00-\u9fff]",
    "mandarin": r"[\u4e00-\u9fff]",
    "japanese": r"[\u3040-\u30ff]",
    "日语": r"[\u3040-\u30ff]",
    "日文": r"[\u3040-\u30ff]",
    "korean": r"[\uac00-\ud7af]",
    "韩语": r"[\uac00-\ud7af]",
    "韩文": r"[\uac00-\ud7af]",
    "russian": r"[\u0400-\u04ff]",
    "俄语": r"[\u0400-\u04ff]",
    "arabic": r"[\u0600-\u06ff]",
    "阿拉伯语": r"[\u0600-\u06ff]",
    "hindi": r"[\u0900-\u097f]",
    "greek": r"[\u0370-\u03ff]",
    "hebrew": (r"[\u0590-\u05ff]"),
    "thai": r"[\u0e00-\u0e7f]",
    "english": r"[A-Za-z]",
    "英文": r"[A-Za-z]",
    "英语": r"[A-Za-z]",
}
"""A language that its script tells -> that script."""
_TONGUES = "|".join(LANGUAGES)
LANGUAGE = (
    re.compile(
        rf"(?i)\b(?:answer|respond|reply|write(?: your (?:answer|response|reply))?|response (?:must|should) be)\s+"
        rf"(?:only |entirely )?in\s+(?P<tongue>{_TONGUES})\b"
    ),
    re.compile(rf"(?:请)?用(?P<tongue>{_TONGUES})(?:(?:回答|回复|作答)|(?:写|撰写|书写)(?=\s*(?:$|[。，；\n])))"),
)
TRANSLATION = (
    re.compile(
        rf"(?i)\btranslate\b[^.;:\n]{{0,60}}\b(?:in)?to\s+(?:simplified |traditional )?(?P<tongue>{_TONGUES})"
        rf"(?=\s*(?:$|[.:;\n]))"
    ),
    re.compile(rf"(?:翻译|译)(?:成|为)(?P<tongue>{_TONGUES})(?=\s*(?:$|[。：:；\n]))"),
)


def number(text: str) -> int:
    """A number in figures or words, English or Chinese (below ten thousand)."""
    text = text.strip().lower().replace(",", "").removeprefix("a ").strip() or "a"
    if text.isdigit():
        return int(text)
    if text in NUMBERS:
        return NUMBERS[text]
    total, digit = 0, 0
    for sign in text:
        if sign in _DIGITS_ZH:
            digit = _DIGITS_ZH[sign]
        else:
            total += (digit or 1) * {"十": 10, "百": 100, "千": 1000}[sign]
            digit = 0
    return total + digit

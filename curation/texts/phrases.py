"""Phrases that tell of an answer's quality, in English and Chinese: refusals, empty openings and closings.

Written for this project from how assistants speak; each is a regular expression without look-around, for polars.

Covers: how English and Chinese assistants refuse, greet and take their leave. Does not cover: other languages, or a
refusal that is argued without any of the usual words.
"""

from __future__ import annotations

APOSTROPHE = "['’]"
_CANNOT = (
    rf"(?:can{APOSTROPHE}?t|can ?not|could not|couldn{APOSTROPHE}t|(?:am|{APOSTROPHE}m) (?:not able|unable) to"
    rf"|won{APOSTROPHE}t)"
)
_HELPING = (
    r"(?:assist|help (?:you|with)|provide|fulfil|comply|answer (?:that|this|your)|do that|create|generate|write|engage"
    r"|support|participate|recommend|discuss|share|give|offer)"
)
REFUSALS = (
    r"\bas an ai(?: (?:language )?model| (?:chat ?bot|assistant|program)|,| i (?:can|am|do|have|lack))",
    r"\bas a (?:large )?language model",
    rf"\bi(?: am|{APOSTROPHE}m) (?:just |only )?an ai\b",
    rf"\bi(?: am|{APOSTROPHE}m) (?:very |so |really )?(?:sorry|afraid)[,.]?(?: but)?(?: that)? i {_CANNOT}",
    rf"\bi(?: apologi[sz]e|{APOSTROPHE}m sorry)[^.!?\n]{{0,40}} i(?: {_CANNOT}|{APOSTROPHE}m unable to) {_HELPING}",
    rf"(?:^|[.!?] |\n)(?:unfortunately, |sorry, )?i(?: {_CANNOT}|{APOSTROPHE}m (?:unable|not able) to)"
    r" (?:assist|help you|help with|fulfil|comply|answer|provide|do that)",
)
REFUSALS_ZH = (
    r"(?:作为|身为|我(?:只)?是)(?:一个|一名|一款)?(?:ai|人工智能|大?型?语言模型)[^。！？\n]{0,40}"
    r"(?:无法|不能|没有|不具备|不便|不会)",
    r"(?:抱歉|对不起|不好意思)[，,。]?(?:但)?(?:是)?我(?:无法|不能|没办法)",
    r"我(?:无法|不能)(?:提供|回答|协助|满足|帮助|完成您|为您)",
    r"(?:抱歉|遗憾)[^。！？\n]{0,12}(?:无法|不能)(?:提供|回答|协助|满足|帮助|完成|为您)",
)
OPENINGS = (
    r"(?:certainly|sure(?: thing)?|of course|absolutely|definitely|great question|good question"
    r"|(?:that|what)(?:['’]s| is)? an? (?:great|good|excellent|interesting) question|i(?:['’]d| would) be happy to"
    r"|happy to help|no problem)(?:\s*[!,.:]|\s[—–-])",
    r"(?:certainly|sure|of course|absolutely)?[!,. ]*here(?:['’]s| is| are) (?:a|an|the|some|your|my|one"
    r"|two|three|four|five|six|seven|ten|\d+)\b[^\n]{0,80}:\s",
    r"thank you for (?:asking|your question|the question|reaching out|contacting me)",
    r"as requested[,:]",
)
OPENINGS_ZH = (
    r"(?:当然(?:可以)?|好的|没问题|很高兴(?:为您|为你|能)|这是一个(?:很好|非常好|有趣|很有趣)的问题|感谢(?:您|你)的(?:提问|问题))"
    r"[！!，,。：:]",
    r"(?:当然[！，,]?|好的[，,！]?)?(?:以下|下面|这里)(?:是|为)[^\n。]{0,40}[：:]",
)
CLOSINGS = (
    r"(?:i )?hope (?:this|that|it|these) (?:helps?|was helpful|is helpful|answers?)[^\n]{0,60}$",
    r"(?:please )?(?:let me know|feel free to (?:ask|reach|contact|let))[^\n]{0,120}$",
    r"(?:is there|do you (?:have|need)|would you like)[^\n?]{0,80}(?:else|more|other|further)[^\n?]{0,60}\?$",
    r"if you (?:have|need) (?:any|more|further)[^\n]{0,120}"
    r"(?:ask|know|help|assist(?:ance)?|contact|reach out)[^\n]{0,40}$",
    r"(?:good luck|happy \w{3,12}ing|have a (?:great|nice|good) day|enjoy)!$",
)
CLOSINGS_ZH = (
    r"希望(?:这|以上|我的|能|对)[^\n]{0,30}(?:帮助|有用|有所帮助|帮到)[^\n]{0,12}$",
    r"(?:如果|如)(?:您|你)?(?:还)?有(?:任何|其他|更多|什么|疑问|问题)[^\n]{0,40}(?:告诉我|问我|提问|联系|询问|随时)[^\n]{0,20}$",
    r"(?:请)?(?:随时)(?:告诉我|问我|提问|联系我)[^\n]{0,12}$",
    r"(?:还有|请问)[^\n]{0,20}(?:需要|可以)[^\n]{0,10}(?:帮|为)[^\n]{0,20}[？?]$",
    r"祝(?:您|你)[^\n]{1,16}[！!。]$",
)

REFUSAL = "(?i)" + "|".join((*REFUSALS, *REFUSALS_ZH))
OPENING = r"(?i)^\s*(?:" + "|".join((*OPENINGS, *OPENINGS_ZH)) + ")"
CLOSING = r"(?i)(?:^|[.!?。！？\n]\s*)(?:" + "|".join((*CLOSINGS, *CLOSINGS_ZH)) + ")"
"""For the end of an answer without trailing space; look at its last 240 characters only."""

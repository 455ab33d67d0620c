"""Conversations whose texts are visible in the test, and generated ones."""

from __future__ import annotations

from hypothesis import strategies as st

from curation.operators import Normalizer
from curation.sample import Message

PIECES = st.sampled_from(
    [
        *(" ", "  ", "\t", "\n", "\n\n", "\n\n\n\n", "\r\n", "    ", "```", "~~~", "```python\n", "\n```\n", "`", "``"),
        *("> ", "- ", "x = 1", "\tif a:\n\t\tb()", "    return 2", "target: dep\n\tcc x.c", "a\u00a0b", "\u3000\u3000"),
        *(
            "\ufeff",
            "\u200b",
            "一段中文，说明。",
            "（括号）",
            "ＡＢＣ１２３！",
            "e\u0301",
            "①",
            "“quoted”",
            "it’s",
            "😀",
        ),
        *("cafÃ©", "itâ€™s", "Â°C", "é•¿åŸŽ", "\\(", "\\)", "\\[", "\\]", "$", "$$", "x^2", "$5 and $10", "\\\\"),
        *("\\frac{1}{2}", "<think>", "</think>", "<THINKING>", "</thought>", "<th", "ink>", "[THINK]", "[/THINK]"),
        *("<|begin_of_thought|>", "<|end_of_thought|>", "<|begin_of_solution|>", "<|end_of_solution|>"),
        *(
            "Certainly! ",
            "Sure, here is a list:\n",
            "Here are two:\n",
            "I hope this helps!",
            " Let me know if you need help.",
        ),
        *("好的，", "当然！", "以下是答案：\n", "希望这对你有帮助。", "The answer is 4.", "答案是四。"),
        *(
            "a.b@example.com",
            "555-0142",
            "call ",
            "(212) 555-0100",
            "4111 1111 1111 1111",
            "card ",
            "8.8.8.8",
            "+1",
            "1380013",
        ),
    ]
)
"""What makes the normalizers meet each other's edges, sooner than random characters would."""

TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=14).map("".join)


def answer_of(normalizer: Normalizer, answer: str, question: str = "Go on.") -> str:
    """What becomes of an answer."""
    return normalizer.normalize((Message("user", question), Message("assistant", answer)))[1].content

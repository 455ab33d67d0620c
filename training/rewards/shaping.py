"""Rewards that say nothing of right and wrong: they hold length and repetition back while another reward is sought."""

from __future__ import annotations

import re

from training.rewards.reward import Answer, Question, Reward

SOFT_SHARE = 0.2
"""Share of the longest length in which the penalty grows: 4,096 of 20,480 tokens in the source."""
RUN = 3
"""Words in a row that should not come again."""

_UNITS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")


def length(question: Question, answer: Answer) -> Reward:
    """0 up to four fifths of the longest length, then falling evenly to -1 at the longest length.

    Source: soft overlong punishment, Yu et al. 2025, DAPO, arXiv:2503.14476, equation 13.
    """
    soft = SOFT_SHARE * answer.most_tokens
    beyond = answer.tokens - (answer.most_tokens - soft)
    return Reward(-min(1.0, max(0.0, beyond / soft)))


def no_repetition(question: Question, answer: Answer) -> Reward:
    """Minus the share of the answer's runs of three words that came before in it: 0 down to nearly -1.

    Source: repetition penalty by n-grams, Yeo et al. 2025, Demystifying Long Chain-of-Thought Reasoning in LLMs,
    arXiv:2502.03373, section 4.

    Differs from the source: one number for the whole answer; Chinese characters and Japanese kana are words each.
    """
    return Reward(-repeated_share(answer.text))


def repeated_share(text: str) -> float:
    """Share of the runs of three words (in Chinese, characters) that came before in the text; 0 with fewer words."""
    words = _UNITS.findall(text.lower())
    runs = [tuple(words[i : i + RUN]) for i in range(len(words) - RUN + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0

"""Reading raw responses: the answer, what the model thought before it, tokens, cost. Pure, and so never a new call."""

from __future__ import annotations

import re
from typing import Any

from curation.language_models.models import Completion

REPLAY = "replay"
"""What stands for an endpoint where answers are replayed from a file."""

_THOUGHT = re.compile(
    r"^\s*(?:<(think|thinking|thought|reasoning)>|◁think▷|<\|channel\|>analysis<\|message\|>)(.*?)"
    r"(?:</\1>|◁/think▷|<\|end\|>|<\|channel\|>final<\|message\|>|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_CLOSED_ONLY = re.compile(
    r"^(.*?)(?<!`)(?:</(?:think|thinking|thought|reasoning)>|◁/think▷)(?!`)", re.DOTALL | re.IGNORECASE
)
_FINAL = re.compile(r"^\s*(?:<\|start\|>assistant)?<\|channel\|>final<\|message\|>|<\|(?:return|end)\|>\s*$")


def split_reasoning(content: str) -> tuple[str, str | None]:
    """Answer and reasoning of a text that may hold both; an opening tag that is never closed leaves no answer."""
    thought = _THOUGHT.match(content)
    if thought:
        reasoning, rest = thought.group(2), content[thought.end() :]
    elif closed := _CLOSED_ONLY.match(content):  # chat templates that put the opening tag into the prompt
        reasoning, rest = closed.group(1), content[closed.end() :]
    else:
        reasoning, rest = "", content
    return _FINAL.sub("", rest).strip(), reasoning.strip() or None


def completion_of(response: dict[str, Any]) -> Completion:
    """The completion that a raw response holds; reasoning from its own field or from tags in the text."""
    choice = response["choices"][0]
    message = choice["message"] if "message" in choice else {"content": choice["text"]}  # Completions
    text, tagged = split_reasoning(_content(message.get("content")))
    own = message.get("reasoning") or message.get("reasoning_content")
    usage = response.get("usage") or {}
    return Completion(
        text=text,
        reasoning=(own.strip() if isinstance(own, str) else None) or tagged,
        finish_reason=choice.get("finish_reason"),
        input_tokens=usage.get("prompt_tokens"),
        output_tokens=usage.get("completion_tokens"),
    )


def _content(content: object) -> str:
    """The text of a message, which some servers send in parts; half surrogate pairs are replaced."""
    if isinstance(content, list):
        content = "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    text = content if isinstance(content, str) else ""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def cost_of(response: dict[str, Any], endpoint: str, model: str) -> tuple[float | None, str | None]:
    """US dollars, or null and why: what the endpoint itself reports, or nothing at all for replayed answers."""
    if endpoint == REPLAY:
        return 0.0, None
    reported = (response.get("usage") or {}).get("cost")
    if isinstance(reported, int | float):
        return float(reported), None
    return None, f"{endpoint} reports no cost and no price is known for {model}"

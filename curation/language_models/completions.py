"""Reading raw responses: the answer, what the model thought before it, tokens, cost. Pure, and so never a new call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from curation.language_models.models import Completion
from curation.language_models.thoughts import parted

REPLAY = "replay"
"""What stands for an endpoint where answers are replayed from a file."""
_THINKING = ("reasoning", "reasoning_content", "thinking")
"""Names under which servers send what a model thought: vLLM, DeepSeek and SGLang, Ollama and content parts."""


def split_reasoning(content: str) -> tuple[str, str | None]:
    """Answer and reasoning of a text that may hold both; an opening tag that is never closed leaves no answer."""
    answer, thoughts, _ = parted(content)
    return answer, thoughts


def completion_of(response: dict[str, Any]) -> Completion:
    """The completion that a raw response holds; reasoning from its own fields, and from parts and tags of the text."""
    choice = response["choices"][0]
    message = choice["message"] if "message" in choice else {"content": choice["text"]}  # Completions
    said, thought = _content(message.get("content"))
    text, tagged = split_reasoning(_whole(said))
    own = [message.get(name) for name in _THINKING] + [_details(message.get("reasoning_details"))]
    if not text and isinstance(message.get("refusal"), str):  # OpenAI's own field of a model that declines
        text = _whole(message["refusal"]).strip()
    usage = response.get("usage") or {}
    return Completion(
        text=text,
        reasoning=_distinct([*own, thought, tagged]),
        finish_reason=choice.get("finish_reason"),
        input_tokens=usage.get("prompt_tokens"),
        output_tokens=usage.get("completion_tokens"),
    )


def why_unanswered(completion: Completion) -> str | None:
    """Why there is no answer, as one reason that can be counted; null where there is one.

    What was thought before the limit was reached is in `reasoning`: more tokens or less thinking help, trying again
    does not.
    """
    if completion.error is not None:
        return completion.error
    if (completion.text or "").strip():
        return None
    if completion.finish_reason == "length":
        spent = "thinking took all the tokens" if completion.reasoning else "the tokens were used up"
        return f"{spent} before the answer began: raise max_tokens or let it think less"
    if completion.finish_reason == "content_filter":
        return "the endpoint's content filter withheld the answer"
    return "it thought and gave no answer" if completion.reasoning else "the answer is empty"


def _content(content: object) -> tuple[str, str]:
    """The text of a message and the thoughts among its parts, where a server sends it in parts."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else "", ""
    said, thought = "", ""
    for part in content:
        if isinstance(part, str):
            said += part
        elif isinstance(part, dict):
            thinks = any(name in str(part.get("type")) for name in ("thinking", "reasoning"))
            inner = next((part[n] for n in ("text", "refusal", "content", *_THINKING, "summary") if part.get(n)), "")
            text = "".join(_content(inner)) if isinstance(inner, str | list) else ""
            said, thought = (said, thought + text) if thinks else (said + text, thought)
    return said, thought


def _details(details: object) -> str:
    """What OpenRouter adds beside `reasoning`, and sends alone for some models."""
    parts = details if isinstance(details, list) else []
    return "\n\n".join(
        str(p.get("text") or p.get("summary"))
        for p in parts
        if isinstance(p, dict) and len(p) > 1 and (p.get("text") or p.get("summary"))
    )


def _distinct(thoughts: Iterable[object]) -> str | None:
    """Thoughts as one text, each once: servers send the same under two names."""
    kept: list[str] = []
    for thought in thoughts:
        text = _whole("".join(_content(thought))).strip()
        if text and not any(text in other for other in kept):
            kept = [other for other in kept if other not in text] + [text]
    return "\n\n".join(kept) or None


def _whole(text: str) -> str:
    """The text with half surrogate pairs, which models do send, replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def cost_of(response: dict[str, Any], endpoint: str, model: str) -> tuple[float | None, str | None]:
    """US dollars, or null and why: what the endpoint itself reports, or nothing at all for replayed answers."""
    if endpoint == REPLAY:
        return 0.0, None
    reported = (response.get("usage") or {}).get("cost")
    if isinstance(reported, int | float):
        return float(reported), None
    return None, f"{endpoint} reports no cost and no price is known for {model}"

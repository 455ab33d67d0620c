"""Tools and tool calls in the form in which published chat templates read them, whichever form a file had."""

from __future__ import annotations

import json
from typing import Any


def tools_of(tools: Any) -> list[Any]:
    """Definitions of tools (or their JSON), each under `function`; empty where there are none."""
    tools = loaded(tools) if isinstance(tools, str) else tools
    if not tools:
        return []
    return [_function(tool) for tool in (tools if isinstance(tools, list) else [tools])]


def calls_of(calls: Any) -> Any:
    """Calls (or their JSON) as a list of functions whose arguments are an object; what is no call stays as it is."""
    calls = loaded(calls) if isinstance(calls, str) else calls
    if not isinstance(calls, list | dict):
        return calls
    named = [_function(call) for call in (calls if isinstance(calls, list) else [calls])]
    for call in named:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict) and isinstance(function.get("arguments"), str):
            call["function"] = {**function, "arguments": loaded(function["arguments"])}
    return named


def loaded(text: str) -> Any:
    """What the JSON says; a text that is none is left for the chat template to refuse."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _function(tool: Any) -> Any:
    if isinstance(tool, dict) and "name" in tool and "function" not in tool and "type" not in tool:
        return {"type": "function", "function": tool}
    return dict(tool) if isinstance(tool, dict) else tool

"""Chat templates in the styles that base models are published with, written for these tests; none marks its answers."""

from __future__ import annotations

from typing import Any

from tests.training.conftest import CHATML, byte_tokenizer

HEADERS = (
    "{{ '<|begin_of_text|>' }}"
    "{% if tools %}{{ '<|start_header_id|>system<|end_header_id|>\n\n' }}"
    "{% for t in tools %}{{ t | tojson }}{% endfor %}{{ '<|eot_id|>' }}{% endif %}"
    "{% for m in messages %}"
    "{% set role = 'ipython' if m.role == 'tool' else m.role %}"
    "{{ '<|start_header_id|>' + role + '<|end_header_id|>\n\n' }}"
    "{% if m.tool_calls %}{% set f = m.tool_calls[0].function %}"
    "{{ '{\"name\": \"' + f.name + '\", \"parameters\": ' + f.arguments | tojson + '}' }}"
    "{% else %}{{ m.content | trim }}{% endif %}{{ '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
"""As Llama 3's: a header of special tokens before each turn, one token after it."""

BRACKETS = (
    "{% set last = namespace(question=-1) %}"
    "{% for m in messages %}{% if m.role == 'user' %}{% set last.question = loop.index0 %}{% endif %}{% endfor %}"
    "{{ '<s>' }}{% for m in messages %}"
    "{% if m.role == 'user' %}"
    "{% if tools and loop.index0 == last.question %}{{ '[TOOLS]' + tools | tojson }}{% endif %}"
    "{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% elif m.role == 'tool' %}{{ '[TOOL_RESULTS]' + m.content + '[/TOOL_RESULTS]' }}"
    "{% elif m.tool_calls %}{{ '[TOOL_CALLS]' }}"
    "{% for c in m.tool_calls %}{{ c.function | tojson }}{% endfor %}{{ '</s>' }}"
    "{% elif m.role == 'assistant' %}{{ ' ' + m.content + '</s>' }}{% endif %}{% endfor %}"
)
"""As Mistral's: the user in brackets, no header before an answer; tools stand before the last question, and so move."""

THINKING = (
    "{% set last = namespace(question=-1) %}"
    "{% for m in messages %}{% if m.role == 'user' %}{% set last.question = loop.index0 %}{% endif %}{% endfor %}"
    "{% if tools %}{{ '<|im_start|>system\n' }}"
    "{% for t in tools %}{{ t | tojson }}{% endfor %}{{ '<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role == 'assistant' and m.reasoning_content and loop.index0 > last.question %}"
    "{{ '<think>\n' + m.reasoning_content + '\n</think>\n\n' }}{% endif %}{{ m.content }}"
    "{% for c in m.tool_calls or [] %}{{ '<tool_call>' + c.function | tojson + '</tool_call>' }}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""As Qwen 3's: what was thought before the last question is left out."""

STYLES: dict[str, tuple[str, str]] = {
    "marked": (CHATML, "<|im_end|>"),
    "headers": (HEADERS, "<|eot_id|>"),
    "brackets": (BRACKETS, "</s>"),
    "thinking": (THINKING, "<|im_end|>"),
}
"""Name -> the template, and what ends a turn."""

_SPECIAL = (
    "<|im_start|>",
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<s>",
    "</s>",
)


def tokenizer_of(style: str) -> Any:
    """A token per byte, and one for every mark of the style."""
    tokenizer = byte_tokenizer(STYLES[style][0])
    more = [*_SPECIAL, "[INST]", "[/INST]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"]
    tokenizer.add_special_tokens({"additional_special_tokens": more}, replace_extra_special_tokens=False)
    return tokenizer

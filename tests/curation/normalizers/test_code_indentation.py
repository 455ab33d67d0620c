from __future__ import annotations

import ast

import pytest

from curation.normalizers import CodeIndentation
from tests.curation.normalizers.texts import answer_of

TABS = CodeIndentation(to="tabs")


def test_tabs_become_spaces_in_fences_only():
    text = "\tprose\n```c\nif (x) {\n\ty();\n \t z();\n}\n```\n\tprose"
    expected = "\tprose\n```c\nif (x) {\n    y();\n     z();\n}\n```\n\tprose"
    assert answer_of(CodeIndentation(), text) == expected


def test_spaces_become_one_tab_per_step_whatever_the_step():
    assert answer_of(TABS, "```js\na {\n  b {\n    c\n  }\n}\n```") == "```js\na {\n\tb {\n\t\tc\n\t}\n}\n```"
    assert answer_of(TABS, "```py\nif a:\n    b\n        + c\n```") == "```py\nif a:\n\tb\n\t\t+ c\n```"


def test_alignment_that_is_left_over_stays_spaces():
    assert answer_of(TABS, "```py\nif a:\n    f(b,\n      c)\n    d\n```") == "```py\nif a:\n\tf(b,\n\t  c)\n\td\n```"


@pytest.mark.parametrize("fence", ["```make", "```Makefile", "```", "~~~"])
def test_a_makefile_keeps_its_tabs(fence):
    text = f"{fence}\nall: main.o\n\tcc -o all main.o\n{fence[:3]}"
    assert answer_of(CodeIndentation(), text) == text


@pytest.mark.parametrize("language", ["yaml", "docker-compose.yml", ""])
def test_yaml_never_gets_tabs(language):
    text = f"```{language}\nservices:\n  web:\n    image: nginx\n    ports:\n      - 80\n```"
    assert answer_of(TABS, text) == text


def test_python_means_the_same_afterwards():
    code = "def f(a):\n  if a:\n    return [a,\n            2]\n  return 0\n"
    new = answer_of(TABS, f"```python\n{code}```")
    assert "\t\treturn" in new
    assert ast.dump(ast.parse(new.removeprefix("```python\n").removesuffix("```"))) == ast.dump(ast.parse(code))


def test_the_margin_of_a_list_belongs_to_the_list():
    assert answer_of(TABS, "- a\n  ```js\n  x {\n      y\n  }\n  ```") == "- a\n  ```js\n  x {\n  \ty\n  }\n  ```"

"""Text from the data as a page may show it: invisible characters made visible, Markdown that can do nothing but format.

A stored text is parsed as Markdown and written anew from what is known to be harmless: every character of it escaped,
headings made small, links and images left as their text. HTML, directives and icons of Streamlit, and addresses stay
what they are: letters.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.tree import SyntaxTreeNode

HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ue000\ue001\U000e0000-\U000e007f]"
)
"""What is not seen or changes the direction of what is; tabs and line ends stay, and what joins letters and emoji."""

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+\-.!|~$<>:&=^\"'@/%])")
_JOINER = "\u2060"
"""Stands, unseen, where Streamlit would make a sign or a link of letters that follow each other."""
_APART = (
    (re.compile(r"(?<=[-<>=~])(?=[->=])"), _JOINER),
    (re.compile(r"(?i)(?<=://)|(?<=www)(?=\.)|(?=@)"), _JOINER),
)

MATH = re.compile(
    r"(?<![\\$])\$\$(?P<display>[^$]{1,2000}?)\$\$"
    r"|(?<!\\)\\\[(?P<bracket>.{1,2000}?)\\\]"
    r"|(?P<environment>\\begin\{(?P<name>equation|align|gather|multline)(?P<star>\*?)\}.{1,2000}?"
    r"\\end\{(?P=name)(?P=star)\})"
    r"|(?<!\\)\\\((?P<paren>.{1,600}?)\\\)"
    r"|(?<![\\$\w])\$(?=\S)(?P<inline>[^$\n]{1,400}?)(?<=[^\s\\])\$(?![\d\w$])",
    re.DOTALL,
)
_LOOKS_LIKE_MATH = re.compile(r"[\\^_=+<>{}|/*]|^\W*\w\W*$|^[A-Za-z]\w?(?:\([^()]*\))?$")
"""Else two prices in a line would be a formula."""
_UNSAFE = re.compile(
    r"\\(?:href|url|includegraphics|html\w*|rule|m?kern|[hvm]skip|[hv]space|raise\w*|lower|vcenter|[gex]?def|let|"
    r"futurelet|\w*newcommand|renewcommand|providecommand|global|char|phantom|smash|tag)(?![a-zA-Z])|%"
)
"""What defines, links or draws boxes of any size: such a formula is shown as it is written."""
_DISPLAY = ("display", "bracket", "environment")
DEEPEST = 24
"""Braces, lists and quotes that may stand in one another."""
_PLACE = re.compile("\ue000(\\d+)\ue001")


class Formula(NamedTuple):
    """A formula of a text."""

    tex: str
    display: bool
    source: str
    """As it stands in the text, with its signs."""


def visible(text: str) -> str:
    """The text with the code in place of what is not seen, such as ‹U+202E›."""
    return HIDDEN.sub(lambda found: f"‹U+{ord(found.group()):04X}›", text.replace("\r\n", "\n"))


def literal(text: str) -> str:
    """Text that Markdown shows as it is: nothing in it formats, links or draws."""
    for pattern, apart in _APART:
        text = pattern.sub(apart, text)
    # An escaped colon is no help before the name of an icon: icons are put in before Markdown is read.
    return _SPECIAL.sub(r"\\\1", text).replace(r"\:material", "&#58;material").replace(r"\:streamlit", "&#58;streamlit")


@functools.lru_cache(256)
def safe_markdown(text: str) -> str | None:
    """The text as harmless Markdown; null where there is nothing to format and it can be shown as it is."""
    text, formulas = _parted(visible(text))
    tree = _parsed(text)
    if not formulas and _is_plain(tree):
        return None
    return _Writer(formulas).blocks(tree)


def _parted(text: str) -> tuple[str, list[Formula]]:
    formulas: list[Formula] = []

    def put_aside(found: re.Match[str]) -> str:
        formula = _formula(found)
        if formula is None:
            return found.group()
        formulas.append(formula)
        return f"\ue000{len(formulas) - 1}\ue001"

    return MATH.sub(put_aside, text), formulas


def _formula(found: re.Match[str]) -> Formula | None:
    kind = next(name for name in (*_DISPLAY, "paren", "inline") if found[name] is not None)
    tex = " ".join(found[kind].split())
    if kind == "environment":  # numbered ones are not known where a formula stands in a text
        inner = {"equation": "aligned", "align": "aligned", "multline": "gathered", "gather": "gathered"}
        named = inner[found["name"]]
        tex = re.sub(r"\\(begin|end)\{\w+\*?\}", rf"\\\1{{{named}}}", tex)
    deep = tex.count("{") > 200 or "{" * DEEPEST in tex or tex.count("^") > 60
    if not tex or deep or "$" in tex or _UNSAFE.search(tex) or (kind == "inline" and not _LOOKS_LIKE_MATH.search(tex)):
        return None
    return Formula(tex, kind in _DISPLAY, found.group())


@functools.cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False, "maxNesting": DEEPEST}).enable(["table", "strikethrough"])


def _parsed(text: str) -> SyntaxTreeNode:
    from markdown_it.tree import SyntaxTreeNode

    return SyntaxTreeNode(_parser().parse(text))


def _is_plain(tree: SyntaxTreeNode) -> bool:
    return all(
        block.type == "paragraph"
        and all(part.type in ("text", "softbreak") for inline in block.children for part in inline.children)
        for block in tree.children
    )


class _Writer:
    """Writes a parsed text as Markdown, each kind of block and of part by what is known of it; others as their text."""

    def __init__(self, formulas: list[Formula]) -> None:
        self.formulas = formulas
        self.in_table = False

    def blocks(self, node: SyntaxTreeNode, between: str = "\n\n") -> str:
        return between.join(filter(None, (self.block(child) for child in node.children)))

    def block(self, node: SyntaxTreeNode) -> str:
        writers: dict[str, Callable[[SyntaxTreeNode], str]] = {
            "paragraph": self.paragraph,
            "heading": self.heading,
            "bullet_list": self.listed,
            "ordered_list": self.listed,
            "blockquote": lambda quote: _indented(self.blocks(quote), "> ", "> "),
            "fence": lambda fence: self.fenced(fence.content, fence.info.split(" ")[0]),
            "code_block": lambda code: self.fenced(code.content, ""),
            "hr": lambda _: "---",
            "table": self.table,
        }
        write = writers.get(node.type)
        return write(node) if write else literal(self.restored(node.content or ""))

    def paragraph(self, node: SyntaxTreeNode) -> str:
        alone = _PLACE.fullmatch("".join(part.content for inline in node.children for part in inline.children).strip())
        if alone and self.formulas[int(alone[1])].display:
            return f"$$\n{self.formulas[int(alone[1])].tex}\n$$"
        return self.inline(node)

    def heading(self, node: SyntaxTreeNode) -> str:
        said = self.inline(node).replace("\\\n", " ")
        if not said:
            return ""
        return f"##### {said}" if node.tag in ("h1", "h2") else f"###### {said}"

    def listed(self, node: SyntaxTreeNode) -> str:
        start = int(node.attrs.get("start", 1)) if node.type == "ordered_list" else 0
        written = []
        for nth, point in enumerate(node.children):
            mark = f"{start + nth}. " if node.type == "ordered_list" else "- "
            tight = all(child.hidden for child in point.children if child.type == "paragraph")
            inside = self.blocks(point, "\n" if tight else "\n\n")
            written.append(_indented(inside, mark, " " * len(mark)) if inside else mark)
        return "\n".join(written)

    def fenced(self, code: str, language: str) -> str:
        code = self.restored(code).rstrip("\n")
        ticks = "`" * max(3, 1 + max(map(len, re.findall("`+", code)), default=0))
        known = language if re.fullmatch(r"[\w+#-]{1,20}", language) else ""
        return f"{ticks}{known}\n{_no_icons(code)}\n{ticks}"

    def table(self, node: SyntaxTreeNode) -> str:
        self.in_table = True
        rows = [row.children for part in node.children for row in part.children]
        lines = ["| " + " | ".join(self.inline(cell).replace("\\\n", " ") for cell in row) + " |" for row in rows]
        self.in_table = False
        sides = {"left": ":--", "right": "--:", "center": ":-:"}
        ways = [sides.get(str(cell.attrs.get("style", "")).rpartition(":")[2].strip(), "---") for cell in rows[0]]
        return "\n".join([lines[0], "| " + " | ".join(ways) + " |", *lines[1:]])

    def inline(self, node: SyntaxTreeNode) -> str:
        return "".join(self.part(part) for inline in node.children for part in inline.children)

    def part(self, node: SyntaxTreeNode) -> str:
        inside = "".join(self.part(child) for child in node.children) if node.children else ""
        if node.type == "text":
            return self.with_formulas(node.content)
        if node.type in ("softbreak", "hardbreak"):
            return "\\\n"
        if node.type == "code_inline":
            return self.code(node.content)
        if node.type in ("strong", "em", "s"):
            mark = {"strong": "**", "em": "*", "s": "~~"}[node.type]
            return f"{mark}{inside}{mark}" if inside else ""
        if node.type == "link":
            address = str(node.attrs.get("href", ""))
            return inside if literal(address) == inside else f"{inside} \\({literal(_short(address))}\\)"
        if node.type == "image":
            return literal(self.restored(f"![{node.content}]({_short(str(node.attrs.get('src', '')))})"))
        return literal(self.restored(node.content or ""))

    def code(self, text: str) -> str:
        text = _no_icons(self.restored(text))
        if self.in_table:
            text = text.replace("|", "\\|")
        ticks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
        return f"{ticks} {text} {ticks}" if "`" in text else f"{ticks}{text}{ticks}"

    def with_formulas(self, text: str) -> str:
        parts, at = [], 0
        for found in _PLACE.finditer(text):
            formula = self.formulas[int(found[1])]
            tex = formula.tex.replace("|", "\\vert ") if self.in_table else formula.tex
            parts += [literal(text[at : found.start()]), f"$${tex}$$" if formula.display else f"${tex}$"]
            at = found.end()
        return "".join([*parts, literal(text[at:])])

    def restored(self, text: str) -> str:
        """The text with its formulas as they were written."""
        return _PLACE.sub(lambda found: self.formulas[int(found[1])].source, text)


def _indented(text: str, first: str, rest: str) -> str:
    return "\n".join((first if nth == 0 else rest) + line for nth, line in enumerate(text.split("\n")))


def _no_icons(code: str) -> str:
    return code.replace(":material", f":{_JOINER}material").replace(":streamlit", f":{_JOINER}streamlit")


def _short(address: str) -> str:
    return address if len(address) <= 120 else f"{address[:100]}…"

"""Texts that want to be more than text, and a corpus that is full of them."""

from __future__ import annotations

import json
from pathlib import Path

from curation.corpus import Corpus
from curation.deciding import edit, tag
from curation.ingestion import ingest
from curation.mixing import build_mix, export
from curation.scorers.length import Length
from curation.scoring import score
from curation.selection import select
from curation.selectors import Longest, Random

HOSTILE = (
    "<script>window.__pwned=1</script>",
    "<img src=x onerror=window.__pwned=1>",
    "<svg/onload=window.__pwned=1>",
    '"><iframe srcdoc="<script>parent.__pwned=1</script>"></iframe>',
    '<a href="javascript:window.__pwned=1">click</a>',
    "<style>*{display:none}</style>",
    '<base href="http://evil.example/">',
    '<meta http-equiv="refresh" content="0;url=http://evil.example/">',
    '<form action="http://evil.example/"><input name=a autofocus onfocus=window.__pwned=1></form>',
    '<object data="http://evil.example/a.swf"></object><embed src="http://evil.example/a">',
    "</code></pre></div></script><script>window.__pwned=1</script>",
    "![pixel](http://evil.example/pixel.png)",
    '![x](x "onerror=window.__pwned=1")',
    "[click](javascript:window.__pwned=1)",
    "[ref][1]\n\n[1]: http://evil.example/a 'title'",
    "<http://evil.example/auto>",
    "# Heading\n\n| a | b |\n| --- | --- |\n| 1 | 2 |",
    "```html\n<script>window.__pwned=1</script>\n```\n~~~\n<b>",
    ":red[red] :blue-background[blue] :rainbow[all] :small[small]",
    ":material/delete: :streamlit: :smile: :material/x:",
    "$\\href{javascript:window.__pwned=1}{x}$ $$\\url{http://evil.example}$$ \\(a\\)",
    "$\\includegraphics{http://evil.example/a.png}$ $$\\htmlClass{x}{y}$$",
    "'; DROP TABLE samples; --",
    "' OR '1'='1",
    '"; DELETE FROM samples; /*',
    "x') UNION ALL SELECT * FROM samples --",
    "$$; ATTACH '/tmp/evil.db'; $$",
    "../../../../etc/passwd",
    "..\\..\\windows\\system32\\config",
    "file:///etc/passwd",
    "~/.ssh/id_rsa",
    "\u202eexe.gpj\u202c \u2066isolated\u2069",
    "zero\u200bwidth\u200d\u2060\ufeffjoiner",
    "a\u0000b\u0007c\u001b[31mred\u001b[0m",
    "👩‍👩‍👧‍👦🏴‍☠️ é ﷽ Z̸̡͚a̴͓l̵̫g̶̲o̷̖",
    '=HYPERLINK("http://evil.example","x")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "{{7*7}} ${7*7} #{7*7} %s %n {0.__class__} {__import__('os')}",
    "javascript:/*--></title></style></textarea></script><svg onload=window.__pwned=1>",
    "data:text/html,<script>window.__pwned=1</script>",
    "&lt;script&gt;window.__pwned=1&lt;/script&gt; &#x3c;b&#x3e;",
    "A" * 200 + "\u0301" * 200 + " " + "W" * 5000,
)
"""Scripts, event handlers, Markdown and its pictures, Streamlit's directives, LaTeX, SQL, paths, letters that turn the
line around or can't be seen, formulas of spreadsheets, templates, and what is too long."""


def rows() -> list[dict[str, object]]:
    """A row per text, with the text in every place that data has."""
    made: list[dict[str, object]] = []
    for number, text in enumerate(HOSTILE):
        call = [{"id": "c", "type": "function", "function": {"name": text[:60], "arguments": json.dumps({text: text})}}]
        made.append(
            {
                "messages": [
                    {"role": "system", "content": text},
                    {"role": "user", "content": f"{number} {text}"},
                    {"role": "assistant", "content": text, "reasoning_content": text, "tool_calls": call},
                    {"role": "tool", "content": text},
                    {"role": "assistant", "content": f"{text} {number}"},
                ],
                "source": text[:200],
                "tags": [text[:100]],
                text[:200]: text,
            }
        )
        made.append({"instruction": f"Say {text}", "output": text, "chosen": text, "source": "pairs"})
        prompt = [{"role": "user", "content": f"Prefer {text}"}]
        made.append({"prompt": prompt, "chosen": text, "rejected": f"not {text}", "source": text[:200]})
    return made


def corpus_at(folder: Path) -> Corpus:
    """A corpus with every text in samples, tags, sources, selections, a mix, a version and rejected rows."""
    corpus = Corpus.create(folder / "corpus")
    file = folder / "<img src=x onerror=window.__pwned=1>.jsonl"
    lines = [json.dumps(row) for row in rows()] + list(HOSTILE)  # and each as a line that is no JSON
    file.write_text("\n".join(lines).replace("\u0000", ""), encoding="utf-8", errors="replace")
    with corpus.database.held():
        ingest(corpus, [file])
        _work_on(corpus)
    return corpus


def _work_on(corpus: Corpus) -> None:
    score(corpus, Length())
    for text in HOSTILE[:12]:
        tag(corpus, text[:100], where="turns > 2", who=text[:80])
    select(corpus, Random(), 20, name="drawn")
    select(corpus, Longest(), 20, name="longest")
    export(corpus, build_mix({"name": "best", "parts": [{"selection": "drawn"}]}))
    first = corpus.frame(["id"], where="turns = 2", limit=1)["id"][0]
    sample = corpus.sample(first)
    edit(corpus, first, messages=[*sample.messages[:-1], type(sample.messages[-1])("assistant", HOSTILE[1])])

"""Tags for what an instruction asks, by a chat model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr

from curation.language_models.models import ChatSpec
from curation.operators import Scorer

if TYPE_CHECKING:
    import polars as pl

    from curation.language_models.models import ChatRequest, Completion

PROMPT = """\
Read the request between the marks and name the intentions behind it: what is to be done, in which subject, in which \
form, under which conditions. Do not carry it out.

<request>
{instruction}
</request>

Give as many tags as it has separate intentions, the main one first. A tag is an English noun phrase of one to four \
words in title case, general enough to fit many other requests, such as "Unit Conversion" or "Product Description".
Answer with a JSON list only, one object for each tag: \
[{{"tag": "...", "explanation": "what in the request shows it, in one short sentence"}}]"""
INSTAGGER = (
    "Please identify tags of user intentions in the following user query and provide an explanation for each tag. "
    'Please respond in the JSON format {{"tag": str, "explanation": str}}.\nUser query: {instruction}'
)
"""The input that InsTagger models were trained on, character by character."""

_BEGIN = re.compile(r"[\[{]")
_BROKEN_OBJECT = re.compile(r"""\{\s*["']tag["']\s*:\s*(["'])([^"{}]+?)\1\s*(?:,[^{}]*)?\}""")
_NO_TAGS = re.compile(r'(```\w*)?\s*(\[\s*\]|\{\s*"tags?"\s*:\s*\[\s*\]\s*\})\s*(```)?')


class InsTag(Scorer):
    """What each instruction asks for, as tags by a chat model; the more tags, the more complex.

    Bring the tags to one spelling with `instag-normalized` before you choose by them.

    Source: InsTag, Lu et al. 2024, arXiv:2308.07074: open tags with an explanation each, complexity = number of tags.

    Columns:
        instag (VARCHAR[]): the tags as they were answered, each once; null if the answer can't be read.
        instag_count (BIGINT): how many, 0 or more.
        instag_raw (VARCHAR): the whole answer.

    Differs from the source: own prompt (`format=instagger` sends what the published InsTagger model was trained on).
    """

    name: ClassVar[str] = "instag"
    batch_rows: ClassVar[int] = 256

    model: ChatSpec = Field(description="Chat model, such as openai:gpt-4.1 or http://HOST:PORT/v1#MODEL")
    format: Literal["json", "instagger"] = Field("json", description="json: any chat model; instagger: that model")
    temperature: float = Field(0.0, ge=0, le=2, description="0 gives the likeliest answer")
    max_tokens: int = Field(1024, ge=16, description="Of an answer; the tags that were complete by then are kept")
    max_characters: int = Field(8_000, ge=100, description="Of an instruction; what comes after is not shown")
    concurrency: int = Field(16, ge=1, description="Requests in flight at most")

    _calls: Path | None = PrivateAttr(None)

    @property
    def needs(self) -> tuple[str, ...]:
        return ("instruction",)

    @property
    def columns(self) -> dict[str, str]:
        return {"instag": "VARCHAR[]", "instag_count": "BIGINT", "instag_raw": "VARCHAR"}

    def in_corpus(self, folder: Path) -> Self:
        """This scorer, which now keeps every answer in the corpus."""
        mine = self.model_copy()
        mine._calls = folder / "calls.sqlite"
        return mine

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        import hashlib

        import polars as pl

        from curation.language_models.asking import answers

        texts = [(text or "").strip() for text in batch["instruction"]]
        asked = [i for i, text in enumerate(texts) if text]
        run = f"instag-{hashlib.sha256(self.spec_json().encode()).hexdigest()[:12]}"
        requests = [self._request(texts[i]) for i in asked]
        found = answers(self.model, requests, calls=self._calls, run=run, concurrency=self.concurrency)
        rows: list[tuple[list[str] | None, str | None, str | None]] = [
            (None, None, "the instruction is empty") for _ in texts
        ]
        for i, completion in zip(asked, found, strict=True):
            rows[i] = _read(completion)
        schema: dict[str, pl.DataType | type[pl.DataType]] = {
            "instag": pl.List(pl.String),
            "instag_raw": pl.String,
            "reason": pl.String,
        }
        measured = pl.DataFrame(rows, schema=schema, orient="row")
        count = pl.col("instag").list.len().cast(pl.Int64).alias("instag_count")
        return measured.select("instag", count, "instag_raw", "reason")

    def _request(self, instruction: str) -> ChatRequest:
        from curation.language_models.models import ChatRequest

        template = PROMPT if self.format == "json" else INSTAGGER
        content = template.format(instruction=instruction[: self.max_characters])
        parameters = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        return ChatRequest((("user", content),), parameters)


def _read(completion: Completion) -> tuple[list[str] | None, str | None, str | None]:
    """Tags, the answer as it came, and why there are none."""
    if completion.text is None:
        from curation.language_models.asking import why_failed

        return None, None, why_failed([completion])
    tags = tags_in(completion.text)
    return tags, completion.text, None if tags is not None else "the answer holds no list of tags"


def tags_in(answer: str) -> list[str] | None:
    """The tags of an answer, each once, in order; null if it is no list of tags.

    Read are a list of objects with a `tag`, one such object or several in a row, a list under any key, and a plain
    list of texts; whatever stands around them, such as a code fence, is passed over. Of a list that was cut off, the
    entries that are complete are kept; so are the tags of objects whose explanation breaks the JSON.
    """
    found: list[str] = []
    at = 0
    while begin := _BEGIN.search(answer, at):
        try:
            value, at = json.JSONDecoder(strict=False).raw_decode(answer, begin.start())
            found += _tags_of(value)
        except (ValueError, RecursionError):
            broken = _BROKEN_OBJECT.match(answer, begin.start())
            found += [broken.group(2)] if broken else []
            at = broken.end() if broken else begin.end()  # where a list was cut off, its entries come next
    tags = list(dict.fromkeys(tag for tag in (" ".join(t.split()) for t in found) if tag))
    return tags or ([] if _NO_TAGS.fullmatch(answer.strip()) else None)


def _tags_of(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [tag for part in value for tag in _tags_of(part)]
    if not isinstance(value, dict):
        return []
    if "tag" in value:
        tag = value["tag"]
        return _tags_of(tag) if isinstance(tag, str | list) else []
    return [tag for part in value.values() if isinstance(part, list) for tag in _tags_of(part)]

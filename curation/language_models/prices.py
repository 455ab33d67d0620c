"""What tokens cost: a table that the user keeps in `CORPUS/prices.json`. None comes with Winnow, as it would be stale.

    {"prices": [{"model": "gpt-4.1-mini", "input": 0.4, "cached_input": 0.1, "output": 1.6,
                 "since": "2026-01-01", "note": "price list of the provider"}]}

US dollars for a million tokens. A row may name an endpoint too (`MODEL@HOST:PORT`) and then wins over the one for the
model alone; of the rows for a model the latest one that is in force today counts. A model without a row has no known
price, which is not the same as being free.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from curation.errors import CorpusError, OperatorError

FILE = "prices.json"
"""Where a corpus keeps its prices."""
PER = 1_000_000
"""Tokens that a price is for."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens, from a day on."""

    model: str
    """MODEL or MODEL@HOST:PORT."""
    input_usd: float
    output_usd: float
    cached_input_usd: float | None = None
    """For input that the endpoint still had in its cache; null = the same as other input."""
    since: str = ""
    """ISO date; empty = always."""
    note: str = ""

    def cost(self, usage: Mapping[str, Any]) -> float | None:
        """US dollars for what an endpoint reports in `usage`; null where it leaves out tokens.

        Reasoning costs what output costs. It is part of `completion_tokens`, except where the total shows that the
        endpoint counts it apart.
        """
        sent, received = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if not self.input_usd and not self.output_usd:
            return 0.0
        if not isinstance(sent, int) or not isinstance(received, int):
            return None
        cached = _detail(usage, "prompt_tokens_details", "cached_tokens")
        thought = _detail(usage, "completion_tokens_details", "reasoning_tokens")
        apart = thought if usage.get("total_tokens") == sent + received + thought else 0
        cached_price = self.input_usd if self.cached_input_usd is None else self.cached_input_usd
        cached = min(cached, sent)
        return ((sent - cached) * self.input_usd + cached * cached_price + (received + apart) * self.output_usd) / PER

    def of_tokens(self, sent: float, received: float) -> float:
        """US dollars for so many tokens, none of them cached."""
        return (sent * self.input_usd + received * self.output_usd) / PER


FREE = Price("", 0.0, 0.0)


def _detail(usage: Mapping[str, Any], group: str, name: str) -> int:
    found = usage.get(group)
    value = found.get(name) if isinstance(found, Mapping) else None
    return value if isinstance(value, int) else 0


class Prices:
    """A table of prices."""

    def __init__(self, rows: Iterable[Price] = ()) -> None:
        self.rows = tuple(sorted(rows, key=lambda p: (p.model, p.since)))

    def of(self, model: str, endpoint: str, day: date | None = None) -> Price | None:
        """The price in force (today, if no day is given) of a model at an endpoint; null where it is not known.

        Args:
            model: as the endpoint calls it.
            endpoint: host and port.
            day: on which it counts.
        """
        today = (day or datetime.now().astimezone().date()).isoformat()
        for name in (f"{model}@{endpoint}", model):
            found = [row for row in self.rows if row.model == name and row.since <= today]
            if found:
                return found[-1]
        return None

    def having(self, price: Price) -> Prices:
        """The table with this price; one of the same model and day is replaced, earlier ones stay on record.

        Raises:
            OperatorError: a price is negative or no number, or the date is none.
        """
        _check(price)
        return Prices([*(r for r in self.rows if (r.model, r.since) != (price.model, price.since)), price])

    def without(self, model: str) -> Prices:
        """The table without any price of this model."""
        return Prices(row for row in self.rows if row.model != model)

    @staticmethod
    def read(path: Path) -> Prices:
        """The table in a file (or in the corpus of that folder); an empty one where there is none.

        Raises:
            CorpusError: the file can't be read, or holds something else.
        """
        path = path / FILE if path.is_dir() else path
        if not path.exists():
            return Prices()
        where = str(path)
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))["prices"]
            found = []
            for number, row in enumerate(rows, 1):
                where = f"{path}, price {number}"
                found.append(_price(row))
                _check(found[-1])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OperatorError) as error:
            reason = error.message if isinstance(error, OperatorError) else f"{type(error).__name__} {error}"
            raise CorpusError(
                f"{where} is no price: {reason}",
                fix='write rows such as {"model": "NAME", "input": 0.4, "output": 1.6, "since": "2026-01-01"}',
            ) from None
        return Prices(found)

    def write(self, path: Path) -> None:
        """Keep the table in a file (or in the corpus of that folder), in one step."""
        path = path / FILE if path.is_dir() else path
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        rows = ",\n".join(f"  {json.dumps(_row(price), ensure_ascii=False)}" for price in self.rows)
        temporary.write_text(f'{{"prices": [\n{rows}\n]}}\n', encoding="utf-8")
        temporary.replace(path)


def endpoint_of(spec: str) -> str:
    """Host and port of a chat model's spec as a price names them; the kind of spec where it has no address."""
    kind, _, rest = spec.partition(":")
    if kind in ("http", "https"):
        return urlsplit(f"{kind}:{rest}").netloc.rpartition("@")[2]
    return {"openai": "api.openai.com"}.get(kind, kind)


def on_this_machine(spec: str) -> bool:
    """Whether a chat model's spec leads to this machine alone."""
    kind = spec.partition(":")[0]
    return kind in ("vllm", "replay") or (kind in ("http", "https") and urlsplit(spec).hostname in LOOPBACK)


def _price(row: Mapping[str, Any]) -> Price:
    known = {"model", "input", "output", "cached_input", "since", "note"}
    if other := set(row) - known:
        raise ValueError(f"it has {sorted(other)[0]!r}")
    cached = row.get("cached_input")
    return Price(
        str(row["model"]),
        float(row["input"]),
        float(row["output"]),
        None if cached is None else float(cached),
        str(row.get("since") or ""),
        str(row.get("note") or ""),
    )


def _row(price: Price) -> dict[str, Any]:
    found = {
        "model": price.model,
        "input": price.input_usd,
        "cached_input": price.cached_input_usd,
        "output": price.output_usd,
        "since": price.since,
        "note": price.note,
    }
    return {name: value for name, value in found.items() if value not in (None, "")}


def _check(price: Price) -> None:
    numbers = {"input": price.input_usd, "output": price.output_usd, "cached input": price.cached_input_usd}
    for name, value in numbers.items():
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise OperatorError(
                f"The {name} price of {price.model} is {value}.", fix="give US dollars for a million tokens, 0 or more"
            )
    if not price.model.strip():
        raise OperatorError("A price needs a model.", fix="name it as the endpoint does, or MODEL@HOST:PORT")
    try:
        date.fromisoformat(price.since or "2000-01-01")
    except ValueError:
        raise OperatorError(
            f"{price.since!r} is no date.", fix="write the day from which the price counts like 2026-01-31"
        ) from None

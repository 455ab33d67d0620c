"""A budget that can't be exceeded: the most that an attempt can cost is set aside, then what it did cost is booked.

What is set aside is an upper bound: no tokenizer makes more tokens of a text than it has bytes, and no answer is longer
than its `max_tokens`. A call that does not fit waits until others give back what they did not need; where nobody can,
the budget is spent. What may have been paid without an answer (a time-out, a lost connection) stays booked.
"""

from __future__ import annotations

import asyncio
import json
import math
import sqlite3
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.errors import BudgetError, OperatorError
from curation.language_models.models import ChatRequest
from curation.language_models.prices import FREE, Price, Prices, endpoint_of, on_this_machine
from curation.progress import Progress

TEMPLATE_TOKENS = 128
"""Set aside for what a chat template adds before the first turn, such as a date and a default system prompt."""
TURN_TOKENS = 16
"""And around each turn."""
WARNINGS = (0.95, 0.8, 0.5)
"""Shares of a budget that are told when they are passed."""

_NOT_KNOWN = "{endpoint} reports no cost and no price is known for {model}"
_NO_TOKENS = "{endpoint} reports neither a cost nor the tokens of this answer"
_KNOWN_COST = "SELECT coalesce(sum(cost_usd), 0.0) FROM calls WHERE run = ?"
_UNKNOWN_COST = (
    "SELECT model, endpoint, request, input_tokens, output_tokens FROM calls "
    "WHERE run = ? AND cost_usd IS NULL AND (error IS NULL OR cost_reason IS NOT NULL)"
)
_NO_ANSWER = "no answer came, and whether it is charged is not known"


class Spending:
    """What a run spends, on however many models: one sum and one limit."""

    def __init__(
        self, prices: Prices, *, limit_usd: float | None = None, free: bool = False, table: str = "CORPUS"
    ) -> None:
        """Begin with nothing spent.

        Args:
            prices: what tokens cost.
            limit_usd: US dollars that may be spent; null = no limit, costs are counted all the same.
            free: models on this machine cost nothing.
            table: what to call the place of the prices in advice.

        Raises:
            OperatorError: the limit is not above 0.
        """
        if limit_usd is not None and not (math.isfinite(limit_usd) and limit_usd > 0):
            raise OperatorError(f"The budget is {limit_usd}.", fix="give US dollars above 0, such as --budget 0.50")
        self.prices = prices
        self._table = table
        self.limit_usd = limit_usd
        self.free = free
        self.booked_usd = 0.0
        """Costs that are known."""
        self.held_usd = 0.0
        """The most that attempts may have cost of which the cost is not known."""
        self.reserved_usd = 0.0
        """Set aside for attempts in flight."""
        self.unknown = False
        """Whether something was paid for without a known price; only without a limit."""
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @classmethod
    def on_prices_of(cls, folder: Path, *, limit_usd: float | None = None, free: bool = False) -> Spending:
        """Spending at the prices of a corpus."""
        return cls(Prices.read(folder), limit_usd=limit_usd, free=free, table=str(folder))

    @property
    def spent_usd(self) -> float | None:
        """What is spent, and what attempts without a known cost may have cost; null where that is unknown."""
        return None if self.unknown else self.booked_usd + self.held_usd

    def on(self, spec: str) -> Account:
        """Where the calls of a chat model are booked.

        Raises:
            OperatorError: there is a limit and no known price.
        """
        account = Account(self, _model_of(spec), endpoint_of(spec), self.price_of(spec))
        if self.limit_usd is not None and account.price is None:
            raise self._no_price(account.model, account.endpoint, f"{usd(self.limit_usd)} US dollars may be spent")
        return account

    def _no_price(self, model: str, endpoint: str, why: str) -> OperatorError:
        here = "add --free if it costs nothing, or " if on_this_machine(f"http://{endpoint}") else ""
        return OperatorError(
            f"No price is known for {model} at {endpoint}, and {why}: such a budget can't be kept.",
            fix=f"{here}set it in US dollars per million tokens: "
            f"winnow price {self._table} {model} --input 0.40 --output 1.60",
        )

    def price_of(self, spec: str) -> Price | None:
        """What the tokens of a chat model cost; null where that is not known."""
        if spec.startswith("replay:") or spec == "none":
            return FREE
        if self.free and on_this_machine(spec):
            return FREE
        return self.prices.of(_model_of(spec), endpoint_of(spec))

    def begin(self, calls: Path, run: str) -> None:
        """Count what earlier commands have spent on the same run.

        Raises:
            OperatorError: there is a limit, and some of it was spent where no price is known.
        """
        database = sqlite3.connect(f"file:{calls}?mode=ro", uri=True, timeout=60)
        try:
            self.booked_usd += database.execute(_KNOWN_COST, (run,)).fetchone()[0]
            for row in database.execute(_UNKNOWN_COST, (run,)):
                self._begin_with(*row)
        finally:
            database.close()

    def _begin_with(self, model: str, endpoint: str, request: str, sent: int | None, received: int | None) -> None:
        """Count an attempt without a known cost: at today's price where its tokens are known, else all it can cost."""
        price = FREE if endpoint == "replay" else self.prices.of(model, endpoint)
        price = FREE if price is None and self.free and on_this_machine(f"http://{endpoint}") else price
        if price is None and self.limit_usd is not None:
            raise self._no_price(model, endpoint, "this run was answered there before")
        if price is not None and sent is not None and received is not None:
            self.booked_usd += price.of_tokens(sent, received)
        elif price is not None and self.limit_usd is not None:
            self.held_usd += most(_asked(request), price)
        else:
            self.unknown = True

    def telling(self, progress: Progress) -> Progress:
        """The same progress, which also tells how much of the budget is spent."""

        def told(done: int, total: int | None, message: str) -> None:
            progress(done, total, message + self.told())

        return told if self.limit_usd is not None else progress

    def told(self) -> str:
        """How much of the budget is spent, beginning with a comma; nothing without a budget."""
        if self.limit_usd is None:
            return ""
        spent = self.booked_usd + self.held_usd
        passed = next((share for share in WARNINGS if spent >= share * self.limit_usd), None)
        warning = f": over {100 * passed:.0f} % of the budget" if passed else ""
        return f", {usd(spent)} of {usd(self.limit_usd)} US dollars spent{warning}"

    async def set_aside(self, amount: float) -> None:
        """Wait until so much is left, and set it aside.

        Raises:
            BudgetError: so much is not left and nobody can give any back.
        """
        while self.limit_usd is not None and self._left() < amount:
            if not self._in_flight:
                self._wake()  # those who ask for less may still have it, and the others are told the same
                raise self._spent(amount)
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting
        self.reserved_usd += amount
        self._in_flight += 1

    def give_back(self, amount: float, booked: float, held: float = 0.0) -> None:
        """End an attempt for which `amount` was set aside."""
        self.booked_usd += booked
        self.held_usd += held
        self._in_flight -= 1
        self.reserved_usd = self.reserved_usd - amount if self._in_flight else 0.0
        self._wake()

    def _left(self) -> float:
        assert self.limit_usd is not None
        return self.limit_usd - self.booked_usd - self.held_usd - self.reserved_usd

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for one in waiting:
            if not one.done():
                one.set_result(None)

    def _spent(self, amount: float) -> BudgetError:
        assert self.limit_usd is not None
        spent = self.booked_usd + self.held_usd
        return BudgetError(
            f"{usd(spent)} of {usd(self.limit_usd)} US dollars are spent, and the next call may cost {usd(amount)}.",
            fix="raise --budget and run the same command again, or lower max_tokens; what was paid for is kept",
        )


@dataclass(frozen=True, slots=True)
class Account:
    """What one chat model's calls cost; its sum and limit are those of the `Spending` it belongs to."""

    spending: Spending
    model: str
    endpoint: str
    price: Price | None

    async def reserve(self, request: ChatRequest) -> float:
        """Set aside the most that an attempt can cost; waits until there is so much.

        Raises:
            BudgetError: the budget is spent.
            OperatorError: there is a budget, and the request does not limit its answer.
        """
        amount = 0.0
        if self.price is not None and self.spending.limit_usd is not None:
            amount = most(request, self.price)
        await self.spending.set_aside(amount)
        return amount

    def settle(
        self, reservation: float, response_cost_usd: float | None, reported: dict[str, Any]
    ) -> tuple[float | None, str | None]:
        """Book what an attempt cost: what the endpoint says, else its tokens at their price, else null and why."""
        cost = response_cost_usd
        if cost is None and reported and self.price is not None:
            cost = self.price.cost(reported)
        if cost is None and self.price is not None and not (self.price.input_usd or self.price.output_usd):
            cost = 0.0
        if cost is not None:
            self.spending.give_back(reservation, cost)
            return cost, None
        self.spending.unknown |= self.spending.limit_usd is None
        self.spending.give_back(reservation, 0.0, held=reservation)
        reason = _NO_ANSWER if not reported else _NOT_KNOWN if self.price is None else _NO_TOKENS
        return None, reason.format(endpoint=self.endpoint, model=self.model)

    def release(self, reservation: float) -> None:
        """Nothing was paid."""
        self.spending.give_back(reservation, 0.0)


def most(request: ChatRequest, price: Price) -> float:
    """US dollars that one attempt can cost at most.

    Raises:
        OperatorError: its answer may be of any length.
    """
    longest = request.parameters.get("max_completion_tokens") or request.parameters.get("max_tokens")
    if longest is None and price.output_usd:
        raise OperatorError(
            "A call without max_tokens may cost anything, so a budget can't be kept.",
            fix="set max_tokens for the synthesizer and the judge",
        )
    answers = int(request.parameters.get("n") or 1)
    return price.of_tokens(most_input_tokens(request), answers * int(longest or 0))


def most_input_tokens(request: ChatRequest) -> int:
    """Tokens that a request can have at most: its bytes, and what a chat template adds."""
    texts = [request.prompt] if request.prompt is not None else [content for _, content in request.messages]
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    form = request.parameters.get("response_format")
    size += len(json.dumps(form)) if form else 0
    return size + TEMPLATE_TOKENS + TURN_TOKENS * len(texts)


def usd(amount: float) -> str:
    """US dollars with as many places as tell something, without a sign."""
    return f"{amount:,.2f}" if amount >= 10 else f"{amount:.4f}" if amount >= 0.001 else f"{amount:.2g}"


def _model_of(spec: str) -> str:
    """What a price calls the model of a spec."""
    kind, _, rest = spec.partition(":")
    return rest.rpartition("#")[2] if kind in ("http", "https") else rest


def _asked(rendered: str) -> ChatRequest:
    """The request that a row of `calls.sqlite` was made for."""
    asked = json.loads(rendered)
    turns = tuple((m["role"], m["content"]) for m in asked.get("messages", ()))
    return ChatRequest(turns, asked["parameters"], prompt=asked.get("prompt"))

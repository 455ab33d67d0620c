"""Who may send when: requests and tokens per minute, and as many calls at once as the endpoint bears.

Three things hold a call back, for each endpoint and model: a rate (of requests, of tokens) that the user gave or that
the endpoint names in its `x-ratelimit-*` headers; a window of calls in flight that begins at 8 and doubles every second
until it is too much, then shrinks to 3/4 (at most twice a second) and grows by one with every 25 answers; and, from
then on, a pace: the rate at which the endpoint did answer, which rises again as long as it stays quiet. Too much is
when 12 or more of the last 200 attempts got a 429 or 503: stray ones slow nobody but the call that got them (with 2 %
of them, shrinking at each left 28 % of the speed). The pace is what keeps an endpoint with a cap near its cap: a window
alone swings around it and collects a 429 for every tenth answer or more.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

FIRST_WINDOW = 8
DOUBLES_SECONDS = 1.0
SHRINKS_BY = 0.75
SHRINKS_SECONDS = 0.5
"""At most once in so long: answers to calls sent before the last time say nothing new."""
ANSWERS_PER_STEP = 25
REMEMBERED = 200
TOO_MANY = 12
"""429s of the last 200 attempts that are no accident: at 2 % by chance, 11 more of 199 come in 3 of 1,000 cases."""
BROKEN_OF = 50
BROKEN_MINIMUM = 20
"""Failed attempts, of the last 50, below which nothing is called broken."""
PACE_SECONDS = 1.0
PACE_ANSWERS = 20
"""Answers needed to tell a rate, and the shortest time over which it is told."""
PACE_GROWS, PACE_GROWS_QUIET, QUIET_SECONDS = 1.02, 1.15, 5.0
"""Per second; the second once 429s have been few for so long."""
LONGEST_PERIOD_SECONDS = 600.0
"""A limit that takes longer to fill up again is one per day, and no rate to go by."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an endpoint allows, where the user knows it; what is null is learnt from its headers."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None


class Bucket:
    """So much per second; a second's worth at most is saved up, and one that is larger than that leaves a debt."""

    def __init__(self, per_second: float | None = None) -> None:
        self.level = 1.0
        self.per_second = per_second
        """null = no limit."""
        self._filled = time.monotonic()

    def pace(self, per_second: float | None) -> None:
        """Go on at another rate."""
        self.fill(time.monotonic())
        self.per_second = per_second

    def fill(self, now: float) -> None:
        """Let time do its part."""
        if self.per_second is not None:
            most = max(1.0, self.per_second)
            self.level = min(most, self.level + (now - self._filled) * self.per_second)
        self._filled = now

    def wait(self, now: float) -> float:
        """Seconds until something may be taken."""
        if self.per_second is None:
            return 0.0
        self.fill(now)
        # A debt of tokens is paid back before the next; a request is always one.
        return 0.0 if self.level >= 1 else (1 - self.level) / self.per_second

    def take(self, amount: float) -> None:
        """Take it."""
        if self.per_second is not None:
            self.level -= amount


class Limiter:
    """The turns of all calls to one model behind one endpoint. Not for several threads."""

    def __init__(self, most: int, limits: Limits | None = None) -> None:
        self.most = most
        """Calls in flight at most, whatever the endpoint bears."""
        self.in_flight = 0
        self.window = float(min(FIRST_WINDOW, most))
        self.requests, self.tokens, self.learnt = Bucket(), Bucket(), Bucket()
        self._fixed: set[str] = set()
        self._waiting: deque[tuple[asyncio.Future[None], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._doubling, self._doubled, self._was_full = True, time.monotonic(), False
        self._shrunk = self._paced = self._too_much = float("-inf")
        self._answers: deque[float] = deque(maxlen=200)
        self._attempts: deque[str] = deque(maxlen=REMEMBERED)
        self._sound = time.monotonic()
        self.allow(most, limits or Limits())

    def allow(self, most: int, limits: Limits) -> None:
        """Take what the user gives."""
        self.most = most
        for name, bucket, per_minute in (
            ("requests", self.requests, limits.requests_per_minute),
            ("tokens", self.tokens, limits.tokens_per_minute),
        ):
            if per_minute is not None:
                bucket.pace(per_minute / 60)
                self._fixed.add(name)

    @property
    def in_use(self) -> bool:
        """Whether calls are in flight or wait for their turn."""
        return bool(self.in_flight or self._waiting)

    async def turn(self, tokens: float) -> None:
        """Wait until a call of about so many tokens may be sent; then it counts as in flight until `left`."""
        if not self._waiting and self._wait(time.monotonic()) == 0:
            self._start(tokens)
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, tokens))
        self._let_in()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.left()
            raise

    def left(self) -> None:
        """The call is no longer in flight."""
        self.in_flight -= 1
        self._let_in()

    def answered(self, headers: Mapping[str, str], more_tokens: float = 0) -> None:
        """It was answered, and took so many tokens more than were thought."""
        now = time.monotonic()
        self._attempts.append("answered")
        self._answers.append(now)
        self.tokens.take(more_tokens)
        if not self._doubling:
            self.window = min(float(self.most), self.window + 1 / ANSWERS_PER_STEP)
        self.told(headers)
        self._quicken(now)

    def busy(self, headers: Mapping[str, str]) -> None:
        """It got a 429 or 503."""
        now = time.monotonic()
        self._attempts.append("busy")
        self.told(headers)
        if self._attempts.count("busy") < TOO_MANY:
            return
        self._too_much, self._doubling = now, False
        if now - self._shrunk >= SHRINKS_SECONDS:
            self.window, self._shrunk = max(1.0, self.window * SHRINKS_BY), now
        rate = self.rate(now)
        if rate is not None and now - self._paced >= SHRINKS_SECONDS:
            self.learnt.pace(rate)
            self.learnt.level, self._paced = min(1.0, self.learnt.level), now

    def failed(self) -> float:
        """It failed otherwise. Returns for how many seconds more than half of the last attempts have done so."""
        self._attempts.append("failed")
        last = list(self._attempts)[-BROKEN_OF:]
        now = time.monotonic()
        if last.count("failed") < BROKEN_MINIMUM or last.count("failed") <= len(last) / 2:
            self._sound = now
            return 0.0
        return now - self._sound

    def told(self, headers: Mapping[str, str]) -> None:
        """Take the limits that an endpoint names."""
        for name, bucket in (("requests", self.requests), ("tokens", self.tokens)):
            if name in self._fixed or f"x-ratelimit-limit-{name}" not in headers:
                continue
            limit = _number(headers.get(f"x-ratelimit-limit-{name}"))
            left = _number(headers.get(f"x-ratelimit-remaining-{name}"))
            reset = seconds_of(headers.get(f"x-ratelimit-reset-{name}"))
            if not limit or limit <= 0:
                continue
            used = limit - left if left is not None else 0
            if used > 0 and reset is not None and reset * limit / used > LONGEST_PERIOD_SECONDS:
                continue
            bucket.pace(limit / 60)
            if left is not None:
                bucket.level = min(bucket.level, left)

    def rate(self, now: float) -> float | None:
        """Answers a second, lately; null where there are too few to tell."""
        if len(self._answers) < PACE_ANSWERS:
            return None
        since = min(now - PACE_SECONDS, self._answers[-PACE_ANSWERS])
        return sum(1 for answer in self._answers if answer >= since) / max(now - since, PACE_SECONDS)

    def _quicken(self, now: float) -> None:
        quiet = now - self._too_much
        if self.learnt.per_second is None or quiet < 1 or now - self._paced < 1:
            return
        faster = self.learnt.per_second * (PACE_GROWS if quiet < QUIET_SECONDS else PACE_GROWS_QUIET)
        rate = self.rate(now)
        # Far above what is sent anyway it holds nothing back, and would only be in the way later.
        self.learnt.pace(None if rate is not None and faster > 4 * rate else faster)
        self._paced = now

    def _wait(self, now: float) -> float | None:
        """Seconds until the next may be sent; null when that depends on an answer."""
        self._double(now)
        if self.in_flight >= max(1, int(min(self.window, self.most))):
            self._was_full = True
            return max(0.01, self._doubled + DOUBLES_SECONDS - now) if self._doubling else None
        return max(self.requests.wait(now), self.tokens.wait(now), self.learnt.wait(now))

    def _double(self, now: float) -> None:
        """The window grows by time only where calls have waited for it."""
        if self._doubling and now - self._doubled >= DOUBLES_SECONDS:
            if self._was_full:
                self.window = min(float(self.most), self.window * 2)
            self._doubled, self._was_full = now, False

    def _start(self, tokens: float) -> None:
        self.in_flight += 1
        self.requests.take(1)
        self.tokens.take(tokens)
        self.learnt.take(1)

    def _let_in(self) -> None:
        while self._waiting:
            turn, tokens = self._waiting[0]
            if not turn.done():
                wait = self._wait(time.monotonic())
                if wait != 0:
                    self._look_again(wait)
                    return
                self._start(tokens)
                turn.set_result(None)
            self._waiting.popleft()

    def _look_again(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else asyncio.get_running_loop().call_later(seconds, self._let_in)


_LIMITERS: dict[tuple[str, str, int], Limiter] = {}


def limiter_of(endpoint: str, model: str, most: int, limits: Limits) -> Limiter:
    """The limiter of a model behind an endpoint: all who call it from this thread share it, one after another too."""
    key = endpoint, model, threading.get_ident()
    known = _LIMITERS.get(key)
    if known is None or (known.in_use and not _loop_runs()):  # left behind by an event loop that was stopped
        known = _LIMITERS[key] = Limiter(most, limits)
    known.allow(most, limits)
    return known


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def seconds_of(text: str | None) -> float | None:
    """Seconds of `6m0s`, `20ms`, `1.5s` or `30`; null where that is no duration."""
    if not text:
        return None
    number = _number(text)
    if number is not None:
        return number
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s|d)", text)
    if not parts or "".join(value + unit for value, unit in parts) != text.strip():
        return None
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
    return sum(float(value) * units[unit] for value, unit in parts)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None

from __future__ import annotations

import asyncio
import time

import pytest

from curation.language_models import limits
from curation.language_models.limits import Bucket, Limiter, Limits, limiter_of, seconds_of


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(limits, "time", clock)
    return clock


def sent_in(limiter: Limiter, clock: Clock, seconds: float, answer) -> int:
    """How many calls are sent in so much time where `answer(number)` settles each of them at once."""
    sent, end = 0, clock.now + seconds
    while clock.now < end:
        wait = limiter._wait(clock.now)
        if wait == 0:
            limiter._start(1)
            limiter.in_flight -= 1
            sent += 1
            answer(sent)
        clock.now += max(wait or 0.001, 0.001)
    return sent


def test_a_bucket_saves_up_a_second_and_lets_nothing_through_for_a_debt(clock):
    bucket = Bucket(10)
    clock.now += 60
    assert bucket.wait(clock.now) == 0
    assert bucket.level == 10
    bucket.take(25)
    assert bucket.wait(clock.now) == pytest.approx(1.6)


def test_requests_per_minute_are_kept(clock):
    limiter = Limiter(100, Limits(requests_per_minute=600))
    assert sent_in(limiter, clock, 60, lambda n: limiter.answered({})) == pytest.approx(600, abs=11)


def test_tokens_per_minute_are_kept_and_what_an_answer_took_more_is_counted(clock):
    limiter = Limiter(100, Limits(tokens_per_minute=6_000))
    sent = sent_in(limiter, clock, 60, lambda n: limiter.answered({}, more_tokens=19))
    assert sent == pytest.approx(6_000 / 20, abs=7)


def test_the_window_begins_at_8_and_doubles_every_second_in_which_calls_had_to_wait(clock):
    limiter = Limiter(100)
    windows = []
    for _ in range(6):
        limiter._wait(clock.now)
        limiter.in_flight = int(limiter.window)
        limiter._wait(clock.now)
        windows.append(limiter.window)
        clock.now += 1.01
    assert windows == [8, 16, 32, 64, 100, 100]


def test_without_calls_that_wait_the_window_does_not_grow(clock):
    limiter = Limiter(100)
    for _ in range(5):
        limiter._wait(clock.now)
        clock.now += 1.01
    assert limiter.window == 8


def overwhelmed(limiter: Limiter) -> None:
    """So many 429s that the next one is too many."""
    for _ in range(limits.TOO_MANY - 1):
        limiter.busy({})


def test_a_429_too_many_shrinks_the_window_to_three_quarters_at_most_twice_a_second(clock):
    limiter = Limiter(8)
    overwhelmed(limiter)
    assert limiter.window == 8
    windows = []
    for _ in range(4):
        limiter.busy({})
        windows.append(limiter.window)
        clock.now += 0.3
    assert windows == [6, 6, 4.5, 4.5]


def test_the_window_never_falls_below_one_and_grows_by_one_with_25_answers(clock):
    limiter = Limiter(8)
    overwhelmed(limiter)
    for _ in range(40):
        limiter.busy({})
        clock.now += 0.6
    assert limiter.window == 1
    for _ in range(25):
        limiter.answered({})
    assert limiter.window == pytest.approx(2)


def test_stray_429s_slow_nobody(clock):
    limiter = Limiter(256)
    windows = []
    for n in range(3_000):
        clock.now += 0.002
        limiter.in_flight = int(limiter.window)
        limiter._wait(clock.now)
        limiter.busy({}) if n % 50 == 49 else limiter.answered({})
        windows.append(limiter.window)
    assert limiter.learnt.per_second is None
    assert windows == sorted(windows)
    assert windows[-1] == 256


def test_a_cap_is_learnt_from_the_rate_at_which_calls_are_answered(clock):
    limiter = Limiter(256)
    level = [100.0, clock.now]
    busy = 0

    def capped(number: int) -> None:
        nonlocal busy
        level[0] = min(100.0, level[0] + (clock.now - level[1]) * 100)
        level[1] = clock.now
        if level[0] < 1:
            busy += 1
            limiter.busy({})
        else:
            level[0] -= 1
            limiter.answered({})

    sent = sent_in(limiter, clock, 30, capped)
    assert sent - busy >= 0.97 * 30 * 100
    assert busy < 0.1 * sent


def test_the_learnt_pace_is_forgotten_when_it_holds_nothing_back(clock):
    limiter = Limiter(8)
    limiter.learnt.pace(50)
    for _ in range(60):
        for _ in range(20):
            clock.now += 0.05
            limiter.answered({})
    assert limiter.learnt.per_second is None


def headers(limit: int, left: int, reset: str, name: str = "requests") -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{name}": str(limit),
        f"x-ratelimit-remaining-{name}": str(left),
        f"x-ratelimit-reset-{name}": reset,
    }


def test_limits_are_taken_from_the_headers(clock):
    limiter = Limiter(8)
    limiter.answered(headers(600, 599, "100ms") | headers(60_000, 59_000, "1s", "tokens"))
    assert (limiter.requests.per_second, limiter.tokens.per_second) == (10, 1_000)


def test_what_the_user_says_goes_before_the_headers(clock):
    limiter = Limiter(8, Limits(requests_per_minute=60))
    limiter.answered(headers(600, 599, "100ms"))
    assert limiter.requests.per_second == 1


def test_a_limit_per_day_is_no_rate(clock):
    limiter = Limiter(8)
    limiter.answered(headers(14_400, 14_370, "2m59.56s"))
    assert limiter.requests.per_second is None


@pytest.mark.parametrize(
    "text, seconds",
    [("6m0s", 360), ("20ms", 0.02), ("1.5s", 1.5), ("30", 30), ("1h2m", 3_720), ("soon", None), ("", None)],
)
def test_durations_are_read(text, seconds):
    assert seconds_of(text) == seconds


def test_more_than_half_of_the_last_50_failing_is_told_with_its_duration(clock):
    limiter = Limiter(8)
    for _ in range(25):
        limiter.answered({})
    assert [limiter.failed() for _ in range(25)][-1] == 0
    limiter.failed()
    clock.now += 5
    assert limiter.failed() == 5
    for _ in range(30):
        limiter.answered({})
    assert limiter.failed() == 0


def test_a_429_is_no_failure(clock):
    limiter = Limiter(8)
    for _ in range(60):
        limiter.busy({})
    assert limiter.failed() == 0


def test_a_call_that_is_cancelled_while_it_waits_leaves_its_turn_to_others():
    async def run() -> int:
        limiter = Limiter(1)
        await limiter.turn(1)
        waiting = [asyncio.create_task(limiter.turn(1)) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        limiter.left()
        await asyncio.wait_for(waiting[1], 1)
        return limiter.in_flight

    assert asyncio.run(run()) == 1


def test_waiting_calls_are_let_in_by_time_and_in_order():
    async def run() -> tuple[list[int], float]:
        limiter, order = Limiter(100, Limits(requests_per_minute=1_200)), []

        async def call(number: int) -> None:
            await limiter.turn(1)
            order.append(number)

        begun = time.monotonic()
        await asyncio.gather(*(call(n) for n in range(6)))
        return order, time.monotonic() - begun

    order, seconds = asyncio.run(run())
    assert order == list(range(6))
    assert seconds >= 0.2


def test_all_who_call_one_model_behind_one_endpoint_share_their_limits():
    first = limiter_of("host:1", "m", 4, Limits())
    assert limiter_of("host:1", "m", 9, Limits(requests_per_minute=60)) is first
    assert (first.most, first.requests.per_second) == (9, 1)
    assert limiter_of("host:1", "other", 4, Limits()) is not first
    first.in_flight = 3  # its event loop was stopped
    assert limiter_of("host:1", "m", 4, Limits()) is not first

"""Overload on a simulated clock: goodput, retry delays, fairness, leftovers."""

import math
import random
from collections import Counter

import pytest

from classwire_server.errors import RequestError
from classwire_server.scheduling.batch import Pending, Priority
from tests.scheduling.simulation import START_S, Simulation, waiting

TOKENS = (8, 64)


def offer(
    made: Simulation, times: float, seconds: float = 3.0
) -> tuple[list[Pending], list[RequestError]]:
    """Offer calls of one text with limits of a second, at `times` the capacity, until each has
    ended.

    Returns the texts that were admitted, and the errors of the others.
    """
    random_ = random.Random(3)
    texts_per_s = times * 1_024 / (made.pass_s + 1_024 * made.token_s) / (sum(TOKENS) / 2)
    end_s, admitted, rejected = made.now_s + seconds, [], []
    while made.now_s < end_s:
        made.until(made.now_s + random_.expovariate(texts_per_s))
        text = waiting(random_.randint(*TOKENS), deadline_s=made.now_s + random_.uniform(0.95, 1))
        error = made.call(text)
        if error is None:
            admitted.append(text)
        else:
            rejected.append(error)
    made.until(made.now_s + 2)
    return admitted, rejected


def good_tokens(made: Simulation, texts: list[Pending]) -> int:
    """Tokens of texts that were answered before their deadline."""
    return sum(text.tokens for text in texts if text.answer and is_in_time(made, text))


def is_in_time(made: Simulation, text: Pending) -> bool:
    """Whether a text ended before its deadline."""
    return made.ended_s[text] <= text.deadline_s


@pytest.mark.parametrize(
    ("lanes", "pass_s", "token_s"), [(1, 0.01, 100e-6), (1, 0.005, 2e-3), (2, 0.02, 200e-6)]
)
def test_goodput_does_not_fall(lanes: int, pass_s: float, token_s: float) -> None:
    """Goodput at ten times the capacity is at least 0.9 of that at the capacity. Few answers are
    late. Every error has a retry delay.
    """
    quiet = Simulation(lanes=lanes, pass_s=pass_s, token_s=token_s)
    at_once = good_tokens(quiet, offer(quiet, lanes)[0])
    flooded = Simulation(lanes=lanes, pass_s=pass_s, token_s=token_s)
    admitted, rejected = offer(flooded, 10 * lanes)

    assert good_tokens(flooded, admitted) >= 0.9 * at_once
    late = [text for text in admitted if text.answer and not is_in_time(flooded, text)]
    assert len(late) <= 0.05 * len(admitted)
    assert flooded.ended_s.keys() == set(admitted)
    assert flooded.scheduler.waiting_texts == 0
    assert all(error.reason == "OVERLOADED" and error.retry_after_s for error in rejected)


def test_the_retry_delay_doubles_at_half_the_speed() -> None:
    """The retry delay doubles on an engine of half the speed."""
    waits_s = []
    for slower in (1, 2):
        made = Simulation(pass_s=0.0, token_s=slower * 400e-6)
        _, rejected = offer(made, 10.0 * slower)
        waits_s.append(sum(error.retry_after_s or 0.0 for error in rejected) / len(rejected))
    assert waits_s[1] == pytest.approx(2 * waits_s[0], rel=0.15)


def test_calls_during_saturating_bulk() -> None:
    """Next to endless bulk work every call is answered within the time of a few passes, and the
    device stays busy.
    """
    made, calls, bulk = Simulation(), list[Pending](), list[Pending]()
    for number in range(2_000):
        if made.scheduler.waiting_texts < 200:
            bulk += (waiting(64, Priority.BULK, flow="stream") for _ in range(100))
            made.add(*bulk[-100:])
        if number % 50 == 0:
            calls.append(waiting(16, deadline_s=made.now_s + 1))
            assert made.call(calls[-1]) is None
        made.until(made.now_s + 0.004)

    waits_s = [made.ended_s[call] - call.queued_s for call in calls[:-1]]
    assert max(waits_s) <= 3 * (made.pass_s + 128 * made.token_s)
    computed = sum(text.tokens for text in bulk if text.answer)
    assert computed >= 0.9 * 8.0 / made.token_s


def test_calls_next_to_large_ones() -> None:
    """Next to endless calls of 64 windows every small call is answered within the time of a few
    passes. A large call takes at most twice its time alone while calls use a third of the engine.
    """
    made, calls, large = Simulation(batch_tokens=512), list[Pending](), list[list[Pending]]()
    alone_s = 64 * (made.pass_s + 512 * made.token_s)
    for number in range(2_000):
        if not large or all(text.ended for text in large[-1]):
            large.append([waiting(512, deadline_s=made.now_s + 60) for _ in range(64)])
            assert made.call(*large[-1]) is None
        if number % 3 == 0:
            calls.append(waiting(16, deadline_s=made.now_s + 60))
            assert made.call(calls[-1]) is None
        made.until(made.now_s + 0.004)

    waits_s = [made.ended_s[call] - call.queued_s for call in calls[:-1]]
    assert max(waits_s) <= 3 * (made.pass_s + 16 * made.token_s)
    ended = [made.ended_s[texts[-1]] - texts[0].queued_s for texts in large[:-1]]
    assert ended
    assert max(ended) <= 2 * alone_s


def test_a_large_call_ends_under_endless_calls() -> None:
    """While small calls alone could fill the engine, a large call takes at most eleven times its
    time alone, though bulk work is queued too.
    """
    made, large = Simulation(batch_tokens=512), [waiting(512) for _ in range(4)]
    alone_s = 4 * (made.pass_s + 512 * made.token_s)
    made.add(*(waiting(512, Priority.BULK) for _ in range(100)))
    assert made.call(*large) is None
    while not all(text.ended for text in large):
        made.add(waiting(64))
        made.until(made.now_s + 0.001)
        assert made.now_s - START_S <= 11 * alone_s


@pytest.mark.parametrize("priority", Priority)
def test_streams_share_the_engine(priority: Priority) -> None:
    """Each of eight streams with texts of mixed lengths gets at least 0.8 of an eighth of the
    tokens, though one has a hundred times more texts queued.
    """
    random_ = random.Random(4)
    made, unanswered, done = Simulation(), dict[int, list[Pending]](), Counter[int]()
    for _ in range(400):
        for stream in range(8):
            texts = unanswered.setdefault(stream, [])
            done[stream] += sum(text.tokens for text in texts if text.ended)
            texts[:] = [text for text in texts if not text.ended]
            window = 1_600 if stream == 0 else 16
            texts += (
                waiting(random_.choice((8, 32, 512)), priority, flow=stream)
                for _ in range(window - len(texts))
            )
            made.add(*(text for text in texts if not text.queued_s))
        made.until(made.now_s + 0.05)
    assert min(done.values()) >= 0.8 * sum(done.values()) / 8, done


def test_a_storm_of_short_deadlines() -> None:
    """Thousands of calls with deadlines of milliseconds, a third of them cancelled, leave nothing
    behind. No expired text runs.
    """
    random_ = random.Random(5)
    made, calls = Simulation(pass_s=0.005), list[Pending]()
    made.add(waiting(1_000, Priority.BULK))
    for _ in range(5_000):
        call = waiting(16, deadline_s=made.now_s + random_.uniform(0.001, 0.02))
        calls.append(call)
        made.add(call)
        if random_.random() < 1 / 3:
            made.scheduler.withdraw([random_.choice(calls)])
        made.until(made.now_s + random_.expovariate(20_000))
    made.until(made.now_s + 1)

    assert all(call.ended for call in calls)
    ran = {text for batch in made.batches for row in batch.rows for text in row}
    assert ran.isdisjoint(call for call in calls if isinstance(call.error, RequestError))
    assert made.scheduler.waiting_texts == 0
    assert made.scheduler.earliest_deadline_s == math.inf

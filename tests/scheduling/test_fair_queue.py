"""The order of one priority: calls by deadline, streams by fair queueing."""

import itertools
import random
from collections import Counter

import pytest

from classwire_server.scheduling.batch import Pending
from classwire_server.scheduling.fair_queue import FairQueue, TokensByDeadline
from tests.scheduling.simulation import waiting


def add(fair_queue: FairQueue, *texts: Pending) -> None:
    """Queue texts that cost all their tokens."""
    for text in texts:
        text.is_queued, text.cost_tokens = True, text.tokens
        fair_queue.add(text)


def take(fair_queue: FairQueue) -> Pending:
    """Take the next text."""
    text = fair_queue.first()
    fair_queue.charge(text)
    text.is_queued = False
    fair_queue.discard(text)
    return text


def test_calls_go_by_deadline() -> None:
    """Calls go by deadline, then by arrival."""
    fair_queue = FairQueue()
    texts = [waiting(deadline_s=deadline_s) for deadline_s in (3.0, 1.0, 2.0, 1.0)]
    add(fair_queue, *texts)
    assert [take(fair_queue) for _ in texts] == [texts[1], texts[3], texts[2], texts[0]]
    assert not fair_queue


def test_a_greedy_stream_takes_nothing_from_others() -> None:
    """Each of eight streams gets at least 0.8 of an eighth of the tokens, with texts of any length,
    though one has a hundred times more texts queued.
    """
    random_ = random.Random(1)
    fair_queue, taken = FairQueue(), Counter[str]()
    longest = dict(zip("abcdefgh", (8, 512, 64, 16, 300, 32, 512, 128), strict=True))

    def more(flow: str, texts: int) -> None:
        add(
            fair_queue,
            *(waiting(random_.randint(4, longest[flow]), flow=flow) for _ in range(texts)),
        )

    for flow in longest:
        more(flow, 1_000 if flow == "b" else 10)
    for _ in range(20_000):
        text = take(fair_queue)
        taken[str(text.flow)] += text.tokens
        more(str(text.flow), 1)

    fair = sum(taken.values()) / 8
    assert min(taken.values()) >= 0.8 * fair, taken


def test_streams_of_one_text_at_a_time_starve_no_other() -> None:
    """Streams with one queued text at a time do not starve a stream with many."""
    fair_queue, taken = FairQueue(), Counter[str]()
    add(fair_queue, *(waiting(100, flow="much") for _ in range(100)))
    for flow in itertools.islice(itertools.cycle(("one", "other")), 60):
        add(fair_queue, waiting(100, flow=flow))
        taken[str(take(fair_queue).flow)] += 1
    assert taken["much"] >= 15, taken


def test_long_texts_one_at_a_time_are_no_advantage() -> None:
    """A stream with one long text at a time gets as many tokens as a stream of short texts."""
    fair_queue, taken = FairQueue(), Counter[str]()
    add(fair_queue, *(waiting(10, flow="short") for _ in range(3_000)))
    add(fair_queue, waiting(500, flow="long"))
    for _ in range(2_000):
        text = take(fair_queue)
        taken[str(text.flow)] += text.tokens
        if text.flow == "long":
            add(fair_queue, waiting(500, flow="long"))
    assert taken["long"] == pytest.approx(taken["short"], rel=0.1)


def test_the_share_of_calls_grows_with_their_texts() -> None:
    """Next to nine queued texts of calls, a stream gets a tenth."""
    fair_queue, taken = FairQueue(), Counter[object]()
    add(fair_queue, *(waiting(10, flow="stream") for _ in range(200)))
    add(fair_queue, *(waiting(10) for _ in range(9)))
    for _ in range(1_000):
        text = take(fair_queue)
        taken[text.flow] += 1
        add(fair_queue, waiting(10, flow=text.flow))
    assert taken["stream"] == pytest.approx(100, rel=0.1)


def test_tokens_before_a_deadline() -> None:
    """All streams, and calls with earlier deadlines, go before a call's text."""
    fair_queue = FairQueue()
    early, late, never = waiting(1, deadline_s=1.0), waiting(20, deadline_s=3.0), waiting(300)
    add(fair_queue, early, late, never, waiting(4_000, flow="stream", deadline_s=9.0))
    assert fair_queue.tokens_before(0.5) == 4_000
    assert fair_queue.tokens_before(2.0) == 4_001
    assert fair_queue.tokens_before(3.0) == 4_021
    early.is_queued = False
    fair_queue.discard(early)
    assert fair_queue.tokens_before(2.0) == 4_000
    assert fair_queue.tokens == 4_320


def test_tokens_by_deadline() -> None:
    """After any additions and removals, `after` is the sum of later deadlines, within a step."""
    random_, due, counted = random.Random(2), TokensByDeadline(), list[tuple[float, int]]()
    for _ in range(2_000):
        if counted and random_.random() < 0.4:
            deadline_s, tokens = counted.pop(random_.randrange(len(counted)))
            due.add(deadline_s, -tokens)
        else:
            counted.append((random_.uniform(1_000, 1_030), random_.randint(1, 99)))
            due.add(*counted[-1])
        now_s = random_.uniform(1_000, 1_030)
        later = sum(tokens for deadline_s, tokens in counted if deadline_s > now_s)
        near = sum(tokens for deadline_s, tokens in counted if 0 < deadline_s - now_s <= 0.005)
        assert later - near <= due.after(now_s) <= later

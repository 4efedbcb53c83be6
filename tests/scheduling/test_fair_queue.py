"""Whose turn it is: among calls the earliest deadline's, among streams that of the one behind."""

import itertools
import random
from collections import Counter

import pytest

from classwire_server.scheduling.batch import Pending
from classwire_server.scheduling.fair_queue import FairQueue, TokensByDeadline
from tests.scheduling.simulation import waiting


def add(fair_queue: FairQueue, *texts: Pending) -> None:
    """Let texts wait that cost what they are long."""
    for text in texts:
        text.is_queued, text.cost_tokens = True, text.tokens
        fair_queue.add(text)


def take(fair_queue: FairQueue) -> Pending:
    """Take the text whose turn it is."""
    text = fair_queue.first()
    fair_queue.charge(text)
    text.is_queued = False
    fair_queue.discard(text)
    return text


def test_calls_go_by_deadline() -> None:
    """Among calls the earliest deadline goes first, and of equal ones the first that came."""
    fair_queue = FairQueue()
    texts = [waiting(deadline_s=deadline_s) for deadline_s in (3.0, 1.0, 2.0, 1.0)]
    add(fair_queue, *texts)
    assert [take(fair_queue) for _ in texts] == [texts[1], texts[3], texts[2], texts[0]]
    assert not fair_queue


def test_a_greedy_stream_takes_nothing_from_others() -> None:
    """Of eight streams, one of which has a hundred times more waiting, each gets at least 0.8 of
    an eighth of the tokens, whatever the lengths of its texts.
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


def test_streams_of_one_text_at_a_time_keep_nobody_out() -> None:
    """Streams of which one text waits at a time take turns with one that has much waiting."""
    fair_queue, taken = FairQueue(), Counter[str]()
    add(fair_queue, *(waiting(100, flow="much") for _ in range(100)))
    for flow in itertools.islice(itertools.cycle(("one", "other")), 60):
        add(fair_queue, waiting(100, flow=flow))
        taken[str(take(fair_queue).flow)] += 1
    assert taken["much"] >= 15, taken


def test_long_texts_one_at_a_time_are_no_advantage() -> None:
    """A stream of which one long text waits at a time gets as many tokens as one of short texts."""
    fair_queue, taken = FairQueue(), Counter[str]()
    add(fair_queue, *(waiting(10, flow="short") for _ in range(3_000)))
    add(fair_queue, waiting(500, flow="long"))
    for _ in range(2_000):
        text = take(fair_queue)
        taken[str(text.flow)] += text.tokens
        if text.flow == "long":
            add(fair_queue, waiting(500, flow="long"))
    assert taken["long"] == pytest.approx(taken["short"], rel=0.1)


def test_calls_count_as_often_as_they_have_texts() -> None:
    """Where nine texts of calls wait beside a stream, the stream gets a tenth."""
    fair_queue, taken = FairQueue(), Counter[object]()
    add(fair_queue, *(waiting(10, flow="stream") for _ in range(200)))
    add(fair_queue, *(waiting(10) for _ in range(9)))
    for _ in range(1_000):
        text = take(fair_queue)
        taken[text.flow] += 1
        add(fair_queue, waiting(10, flow=text.flow))
    assert taken["stream"] == pytest.approx(100, rel=0.1)


def test_tokens_before_a_deadline() -> None:
    """Calls that are due later are not before a text; all streams are."""
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


def test_sums_of_what_is_due() -> None:
    """Whatever is counted and taken away, the sum is that of what is due later, to a step."""
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

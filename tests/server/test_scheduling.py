"""What waits for the device: order, budget, bounds, expiry. The clock is passed in."""

import math
from queue import SimpleQueue

import pytest

from classwire_server.scheduling import Pending, Priority, Queue
from classwire_server.tokenization import Encoding, Text


def _pending(
    tokens: int = 10,
    priority: Priority = Priority.INTERACTIVE,
    deadline_s: float = math.inf,
) -> Pending:
    encoding = Encoding([0] * tokens, [0] * tokens, 0, Text("x"), None)
    return Pending(encoding, priority, SimpleQueue(), deadline_s)


def test_first_come_first_served() -> None:
    """Texts of one priority leave in the order in which they came, even at the same instant."""
    queue, texts = Queue(1_000), [_pending() for _ in range(5)]
    for text in texts:
        queue.add(text, now_s=1.0)
    assert queue.take(1_000) == texts
    assert len(queue) == 0
    assert queue.tokens == 0


def test_interactive_overtakes_bulk() -> None:
    """Interactive work that comes a little later leaves first."""
    queue, bulk, interactive = Queue(1_000), _pending(priority=Priority.BULK), _pending()
    queue.add(bulk, now_s=0.0)
    queue.add(interactive, now_s=1.0)
    assert queue.take(1_000) == [interactive, bulk]


def test_bulk_is_never_starved() -> None:
    """Bulk work that has waited out the head start leaves before what comes then."""
    queue, bulk, interactive = Queue(1_000), _pending(priority=Priority.BULK), _pending()
    queue.add(bulk, now_s=0.0)
    queue.add(interactive, now_s=Priority.BULK.value + 0.1)
    assert queue.take(1_000) == [bulk, interactive]


def test_a_batch_keeps_to_its_budget() -> None:
    """A batch ends before the text that would pass the budget; that text is first in the next."""
    queue, texts = Queue(1_000), [_pending(40), _pending(40), _pending(40)]
    for text in texts:
        queue.add(text, now_s=0.0)
    assert queue.take(100) == [texts[0], texts[1]]
    assert queue.take(100) == [texts[2]]


def test_one_text_always_fits() -> None:
    """A text that is longer than the budget is a batch by itself."""
    queue, long = Queue(1_000), _pending(500)
    queue.add(long, now_s=0.0)
    queue.add(_pending(1), now_s=0.0)
    assert queue.take(100) == [long]


def test_nothing_waits() -> None:
    """An empty queue has no batch."""
    assert Queue(1_000).take(100) == []


def test_room_is_bounded_in_tokens() -> None:
    """There is room up to the bound, and again when something has left."""
    queue = Queue(100)
    first = _pending(60)
    queue.add(first, now_s=0.0)
    assert queue.has_room(40, Priority.INTERACTIVE)
    assert not queue.has_room(41, Priority.INTERACTIVE)
    assert queue.remove(first)
    assert queue.has_room(100, Priority.INTERACTIVE)


def test_bulk_fills_half_of_the_queue() -> None:
    """Bulk work leaves the other half to interactive work."""
    queue = Queue(100)
    queue.add(_pending(30, Priority.BULK), now_s=0.0)
    assert queue.has_room(20, Priority.BULK)
    assert not queue.has_room(21, Priority.BULK)
    assert queue.has_room(70, Priority.INTERACTIVE)


def test_an_empty_queue_takes_anything() -> None:
    """No call is so large that it could never be served."""
    assert Queue(100).has_room(5_000, Priority.BULK)


def test_expiry_takes_what_is_late_and_nothing_else() -> None:
    """Texts whose deadline has come leave the queue, no batch holds them, and the next is known."""
    queue, late, in_time = Queue(1_000), _pending(deadline_s=5.0), _pending(deadline_s=5.1)
    queue.add(late, now_s=0.0)
    queue.add(in_time, now_s=0.0)
    assert queue.earliest_deadline_s == 5.0
    assert queue.expire(now_s=4.9) == []
    assert queue.expire(now_s=5.0) == [late]
    assert queue.earliest_deadline_s == 5.1
    assert queue.tokens == in_time.tokens
    assert queue.take(1_000) == [in_time]


def test_removal_happens_once() -> None:
    """A text is removed once; one that has left, or never came, is not there."""
    queue, text = Queue(1_000), _pending()
    queue.add(text, now_s=0.0)
    assert queue.remove(text)
    assert not queue.remove(text)
    assert not queue.remove(_pending())
    assert queue.take(1_000) == []


def test_many_removals_leave_order_and_count_right() -> None:
    """Whatever is removed, what stays leaves in its order, and the tokens are counted right."""
    queue, texts = Queue(1 << 20), [_pending(tokens=1 + i % 7) for i in range(1_000)]
    for text in texts:
        queue.add(text, now_s=0.0)
    stay = [text for i, text in enumerate(texts) if i % 9 == 0]
    for text in texts:
        if text not in stay:
            assert queue.remove(text)
    assert queue.tokens == sum(text.tokens for text in stay)
    assert queue.take(1 << 20) == stay


def test_drain_time_follows_the_measured_rate() -> None:
    """Twice the tokens, or half the rate, take twice as long."""
    queue = Queue(1_000)
    queue.add(_pending(200), now_s=0.0)
    queue.drained(tokens=100, seconds=1.0)
    assert queue.drain_s() == pytest.approx(2.0)
    queue.add(_pending(200), now_s=0.0)
    assert queue.drain_s() == pytest.approx(4.0)
    for _ in range(50):
        queue.drained(tokens=100, seconds=2.0)
    assert queue.drain_s() == pytest.approx(8.0, rel=1e-3)

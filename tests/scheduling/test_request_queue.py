"""The queue: order, budget, bounds, expiry. The clock is passed in."""

import gc
import weakref
from collections import Counter

import pytest

from classwire_server.scheduling.batch import Batch, Pending, Priority
from classwire_server.scheduling.request_queue import CLAIM, RequestQueue
from tests.scheduling.simulation import waiting

BULK, INTERACTIVE, LARGE = Priority.BULK, Priority.INTERACTIVE, Priority.LARGE


def fill(queue: RequestQueue, *texts: Pending) -> None:
    """Queue texts."""
    for text in texts:
        queue.add(text)


def texts_of(batch: Batch) -> list[Pending]:
    """The texts of a batch, row by row."""
    return [text for row in batch.rows for text in row]


def take_next(queue: RequestQueue, budget_tokens: int) -> Batch:
    """Take a batch of the next priority."""
    priority = queue.next_priority()
    assert priority is not None
    return queue.take(priority, budget_tokens)


def test_priority_goes_before_deadline() -> None:
    """Interactive work goes before large calls, and these before bulk work, whatever the
    deadlines.
    """
    queue, bulk, large = RequestQueue(100), waiting(1, BULK, 1.0), waiting(1, LARGE, 2.0)
    interactive = waiting(1)
    fill(queue, bulk, large, interactive)
    for text in (interactive, large, bulk):
        assert texts_of(take_next(queue, 100)) == [text]
    assert queue.next_priority() is None


@pytest.mark.parametrize("tokens", [5, 40])
@pytest.mark.parametrize(
    ("endless", "other"), [(INTERACTIVE, BULK), (INTERACTIVE, LARGE), (LARGE, BULK)]
)
def test_lower_priorities_get_their_claim_and_no_more(
    endless: Priority, other: Priority, tokens: int
) -> None:
    """Under endless work of a higher priority, work gets a tenth of its tokens."""
    queue, taken = RequestQueue(1 << 20), Counter[Priority]()
    fill(queue, *(waiting(tokens, other) for _ in range(1_000)), waiting(10, endless))
    while taken[endless] < 10_000:
        batch = take_next(queue, 100)
        taken[batch.priority] += batch.tokens
        fill(queue, *(waiting(10, endless) for _ in range(10 if batch.priority is endless else 0)))
    assert taken[other] <= CLAIM * taken[endless]
    assert taken[other] >= 0.9 * CLAIM * taken[endless]


def test_each_lower_priority_has_its_own_claim() -> None:
    """Under endless interactive work, large calls and bulk work both get their tenth."""
    queue, taken = RequestQueue(1 << 20), Counter[Priority]()
    fill(queue, *(waiting(10, each) for each in (LARGE, BULK) for _ in range(1_000)), waiting(10))
    while taken[INTERACTIVE] < 10_000:
        batch = take_next(queue, 100)
        taken[batch.priority] += batch.tokens
        fill(queue, *(waiting(10) for _ in range(10 if batch.priority is INTERACTIVE else 0)))
    assert taken[LARGE] == pytest.approx(CLAIM * taken[INTERACTIVE], rel=0.1)
    assert taken[BULK] == pytest.approx(CLAIM * (taken[INTERACTIVE] + taken[LARGE]), rel=0.1)


def test_large_calls_fill_up_before_bulk_work() -> None:
    """A batch of calls is filled with texts of large calls, then with bulk texts."""
    queue, large, bulk = RequestQueue(1_000), waiting(10, LARGE), waiting(10, BULK)
    fill(queue, bulk, waiting(10, BULK), large, waiting(10))
    batch = queue.take(INTERACTIVE, 100)
    queue.fill_up(batch, 30, 30)
    assert texts_of(batch)[1:] == [large, bulk]


def test_fillers_do_not_reduce_the_claim() -> None:
    """Texts that fill urgent batches do not reduce the claim of a long text: its turn comes."""
    queue, long = RequestQueue(1 << 20), waiting(100, BULK, flow="a")
    fill(queue, long, *(waiting(10, BULK, flow="a") for _ in range(1_000)))
    for _ in range(int(100 / CLAIM) // 40):
        fill(queue, waiting(20), waiting(20))
        assert queue.next_priority() is INTERACTIVE
        urgent = queue.take(INTERACTIVE, 50)
        queue.fill_up(urgent, 50, 50)
        assert [text.priority for text in texts_of(urgent)] == [INTERACTIVE, INTERACTIVE, BULK]
        assert long not in texts_of(urgent)
    fill(queue, waiting(20))
    assert queue.next_priority() is BULK
    assert texts_of(queue.take(BULK, 100)) == [long]


def test_the_claim_ends_with_the_last_bulk_text() -> None:
    """The claim is zero once no bulk work is queued."""
    queue = RequestQueue(1 << 20)
    fill(queue, waiting(1, BULK), waiting(500), waiting(1))
    queue.take(INTERACTIVE, 500)
    queue.take(BULK, 500)
    fill(queue, waiting(1, BULK))
    assert queue.next_priority() is INTERACTIVE


def test_a_batch_keeps_to_its_budget() -> None:
    """A batch ends before the text that exceeds the budget; that text is first in the next."""
    queue, texts = RequestQueue(1_000), [waiting(40), waiting(40), waiting(40)]
    fill(queue, *texts)
    batch = queue.take(INTERACTIVE, 100)
    assert (texts_of(batch), batch.tokens) == (texts[:2], 80)
    assert texts_of(queue.take(INTERACTIVE, 100)) == texts[2:]
    assert texts_of(queue.take(INTERACTIVE, 100)) == []


def test_one_text_always_fits() -> None:
    """A text that is longer than the budget is a batch of its own."""
    queue, long = RequestQueue(1_000), waiting(500)
    fill(queue, long, waiting(1))
    assert texts_of(queue.take(INTERACTIVE, 100)) == [long]


def test_the_bound_of_calls() -> None:
    """Calls may fill the queue, large ones too, bulk calls half of it. An empty queue takes
    anything.
    """
    queue = RequestQueue(100)
    assert not queue.is_full(5_000, BULK)
    fill(queue, waiting(30))
    assert not queue.is_full(70, INTERACTIVE)
    assert queue.is_full(71, INTERACTIVE)
    assert not queue.is_full(70, LARGE)
    assert not queue.is_full(20, BULK)
    assert queue.is_full(21, BULK)


def test_the_bound_of_streams() -> None:
    """Streams may fill half of the queue. A stream without queued texts has room for one."""
    queue, text = RequestQueue(100), waiting(50, BULK, flow="a")
    fill(queue, text)
    assert not queue.has_room(waiting(1, BULK, flow="a"))
    assert queue.has_room(waiting(90, BULK, flow="b"))
    assert queue.has_room(waiting(flow="a", priority=BULK, same_as=text))
    assert queue.remove(text)
    assert queue.has_room(waiting(50, BULK, flow="a"))


def test_expiry_takes_only_late_texts() -> None:
    """Expired texts leave the queue, and the earliest deadline is that of the next."""
    queue, late, in_time = RequestQueue(1_000), waiting(deadline_s=5.0), waiting(deadline_s=5.1)
    fill(queue, in_time, late, waiting())
    assert queue.earliest_deadline_s == 5.0
    assert queue.expire(now_s=4.9) == []
    assert queue.expire(now_s=5.0) == [late]
    assert queue.earliest_deadline_s == 5.1
    assert queue.tokens == 20
    assert late not in texts_of(queue.take(INTERACTIVE, 1_000))


def test_removal_happens_once() -> None:
    """`remove` returns False for a text that has left, or was never queued."""
    queue, text = RequestQueue(1_000), waiting()
    fill(queue, text)
    assert queue.remove(text)
    assert not queue.remove(text)
    assert not queue.remove(waiting())
    assert (len(queue), queue.tokens) == (0, 0)


def test_many_removals_leave_order_and_count_right() -> None:
    """After many removals, order and token count are right."""
    queue, texts = RequestQueue(1 << 20), [waiting(tokens=1 + i % 7) for i in range(1_000)]
    fill(queue, *texts)
    stay = texts[::9]
    for text in set(texts).difference(stay):
        assert queue.remove(text)
    assert queue.tokens == sum(text.tokens for text in stay)
    assert texts_of(queue.take(INTERACTIVE, 1 << 20)) == stay
    assert (len(queue), queue.tokens) == (0, 0)


def test_removed_texts_are_freed() -> None:
    """The queue does not keep references to texts that left long before their deadline."""
    queue = RequestQueue(1 << 20)
    fill(queue, waiting(deadline_s=1.0, flow="waits"))
    inboxes = []
    for _ in range(1_000):
        text = waiting(deadline_s=1_000.0)
        inboxes.append(weakref.ref(text.inbox))
        fill(queue, text)
        assert queue.remove(text)
    gc.collect()
    assert sum(inbox() is not None for inbox in inboxes) < 200


def test_same_texts_cost_once_and_go_together() -> None:
    """Texts with the same key share a row, at the turn of the first, and count once."""
    queue, bulk, other = RequestQueue(1_000), waiting(30, BULK), waiting(5)
    same = waiting(same_as=bulk)
    fill(queue, bulk, other, same)
    assert (len(queue), queue.tokens) == (3, 35)
    batch = queue.take(INTERACTIVE, 1_000)
    assert [set(row) for row in batch.rows] == [{other}, {bulk, same}]
    assert (batch.tokens, len(queue), queue.tokens) == (35, 0, 0)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_cost_goes_to_another_text(order: tuple[int, ...]) -> None:
    """If texts with a common key are removed, the last is still computed, and counts once."""
    queue, first = RequestQueue(1_000), waiting(30, BULK, flow="stream")
    texts = [first, waiting(same_as=first), waiting(same_as=first, deadline_s=9.0)]
    fill(queue, *texts)
    for place in order[:2]:
        assert queue.tokens == 30
        assert queue.remove(texts[place])
    left = texts[order[2]]
    assert (len(queue), queue.tokens, queue.tokens_of(left.priority)) == (1, 30, 30)
    batch = queue.take(left.priority, 1_000)
    assert (batch.rows, batch.tokens, queue.tokens) == ([[left]], 30, 0)


def test_tokens_before_a_call() -> None:
    """Calls wait for all work of higher priorities, and for calls of their own with earlier
    deadlines.
    """
    queue = RequestQueue(10_000)
    fill(queue, waiting(1, deadline_s=9.0), waiting(20, BULK, 2.0), waiting(300, BULK, 4.0))
    fill(queue, waiting(4_000, LARGE, 2.0), waiting(2_000, LARGE, 4.0))
    assert queue.tokens_before(BULK, 3.0) == 6_021
    assert queue.tokens_before(LARGE, 3.0) == 4_001
    assert queue.tokens_before(INTERACTIVE, 3.0) == 0


def test_take_all() -> None:
    """`take_all` returns all texts and leaves the queue empty."""
    queue, suspect = RequestQueue(1_000), waiting()
    suspect.is_suspect = True
    texts = [waiting(), waiting(3, BULK, flow="a"), suspect]
    fill(queue, *texts, waiting(same_as=texts[0]))
    assert set(texts) < set(queue.take_all())
    assert (len(queue), queue.tokens, queue.has_suspects) == (0, 0, False)
    assert queue.next_priority() is None

"""Which queued texts go to the engine next, and when."""

import math
from collections.abc import Callable, Iterable

from .admission import TOO_LATE, Admission
from .batch import Batch, Pending, Priority
from .batch_sizing import BatchSizing
from .in_flight import InFlight
from .request_queue import RequestQueue

MAX_AHEAD_S = 0.05
"""A batch is sent ahead only if it starts within this time: later texts can't overtake it."""


class Batching:
    """Takes batches from the queue for the engine. A batch that it takes counts as in flight.

    It sheds texts that would be late through `end`. Not safe for use by several threads.
    """

    def __init__(
        self,
        queue: RequestQueue,
        in_flight: InFlight,
        admission: Admission,
        batch_sizing: BatchSizing,
        end: Callable[[Iterable[Pending], BaseException], None],
    ) -> None:
        self._queue = queue
        self._in_flight = in_flight
        self._admission = admission
        self._batch_sizing = batch_sizing
        self._end = end

    @property
    def may_take(self) -> bool:
        """Whether queued work may go to a free lane, or ahead of the next free lane.

        A suspect waits until nothing else is in flight.
        """
        queue, in_flight = self._queue, self._in_flight
        if queue.has_suspects:
            return not in_flight
        if in_flight.is_exclusive or not len(queue):
            return False
        if len(in_flight.batches) != in_flight.lanes:
            return in_flight.free_lanes > 0
        return self._may_send_ahead

    @property
    def may_take_urgent(self) -> bool:
        """Whether interactive work would wait for batches in flight that yield to it."""
        queue, in_flight = self._queue, self._in_flight
        return (
            in_flight.urgent is None
            and not in_flight.is_exclusive
            and not in_flight.free_lanes
            and any(priority.yields for priority in in_flight.priorities)
            and not queue.has_suspects
            and queue.first(Priority.INTERACTIVE) is not None
        )

    def take(self, now_s: float) -> Batch | None:
        """Take the next batch for a lane; None if there is none, or no lane for it."""
        if not self.may_take:
            return None
        if self._queue.has_suspects:
            return self._in_flight.enter(self._queue.take_suspect(), is_exclusive=True)
        start_s = self._start_s(now_s)
        while (priority := self._queue.next_priority()) is not None:
            if not self._shed(priority, start_s, now_s):
                budget_tokens = self._budget_tokens(priority, start_s, now_s)
                batch = self._queue.take(priority, budget_tokens)
                if priority is Priority.INTERACTIVE and self._in_flight.free_lanes <= 1:
                    self._fill_up(batch, start_s)  # no lane is left for other work
                return self._in_flight.enter(batch)
        return None

    def take_urgent(self, now_s: float) -> Batch | None:
        """Take an interactive batch that needs no lane; None if none is needed."""
        while self.may_take_urgent:
            if not self._shed(Priority.INTERACTIVE, now_s, now_s):
                batch = self._queue.take(Priority.INTERACTIVE, self._batch_sizing.urgent_tokens)
                batch.is_urgent = True
                self._fill_up(batch, now_s)
                return self._in_flight.enter(batch)
        return None

    @property
    def _may_send_ahead(self) -> bool:
        """Whether a batch may go ahead of the next free lane, while all lanes are busy.

        It must start soon, and as much must be queued as the shortest batch in flight has: a
        smaller batch had better grow. No batch goes ahead behind one of a higher priority: the
        engine may start two batches sent in a row in either order.
        """
        queue, in_flight = self._queue, self._in_flight
        priority = queue.next_priority()
        if priority is not None and not in_flight.priorities.isdisjoint(priority.higher):
            return False
        soon_s = self._admission.lane_s(in_flight.shortest_tokens, Priority.BULK)
        return 0 < soon_s <= MAX_AHEAD_S and queue.tokens >= min(
            in_flight.shortest_tokens, self._batch_sizing.batch_tokens
        )

    def _start_s(self, now_s: float) -> float:
        """When a batch that is taken now starts: one that is sent ahead waits for a lane."""
        in_flight = self._in_flight
        if in_flight.free_lanes:
            return now_s
        return now_s + self._admission.lane_s(in_flight.shortest_tokens, Priority.BULK)

    def _shed(self, priority: Priority, start_s: float, now_s: float) -> bool:
        """Reject the next text if it is a call's and would be late in a batch that starts now.

        Keeps the last text of an idle engine: only a pass renews the measured drain rate.
        """
        first = self._queue.first(priority)
        is_last = len(self._queue) == 1 and not self._in_flight
        if first is None or first.flow is not None or is_last:
            return False
        if start_s + self._admission.lane_s(first.tokens, priority) <= first.deadline_s:
            return False
        queue_tokens = self._queue.tokens
        self._end([first], self._admission.reject(first.tokens, queue_tokens, now_s, TOO_LATE))
        return True

    def _fill_up(self, batch: Batch, start_s: float) -> None:
        """Add work that yields: a pass over few tokens takes nearly as long as a filled one."""
        waited_s = start_s - min(row[0].queued_s for row in batch.rows)
        slack_s = batch.rows[0][0].deadline_s - start_s
        enough_tokens, most_tokens = self._batch_sizing.fill_tokens(waited_s, slack_s)
        self._queue.fill_up(batch, enough_tokens, most_tokens)

    def _budget_tokens(self, priority: Priority, start_s: float, now_s: float) -> int:
        first = self._queue.first(priority)
        free_lanes = max(1, self._in_flight.free_lanes)
        share_tokens = math.ceil(self._queue.tokens_of(priority) / free_lanes)
        slack_s = first.deadline_s - start_s if first else math.inf
        return self._batch_sizing.budget_tokens(priority, share_tokens, slack_s, now_s)

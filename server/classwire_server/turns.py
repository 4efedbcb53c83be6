"""Whose turn it is among texts of one priority. Pure, as scheduling is.

Flows take turns by start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996): each has a
virtual time, which moves on by the tokens taken from it, and the one that is behind is next. All
calls together are one flow, in which the earliest deadline goes first, and which counts as often as
it has texts; each stream is a flow.
"""

import heapq
import itertools
import math
from collections.abc import Hashable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .pending import Pending


class _Flow:
    """Texts of one sender: the earliest deadline first, then the first that came."""

    __slots__ = ("heap", "size", "virtual_tokens")

    def __init__(self, virtual_tokens: float) -> None:
        self.virtual_tokens = virtual_tokens
        self.heap: list[tuple[float, int, Pending]] = []
        self.size = 0


class Turns:
    """Texts of one priority, which know themselves whether they still wait.

    Not safe for use by several threads.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self._flows: dict[Hashable, _Flow] = {}
        self._virtual_tokens = 0.0
        self._latest_deadline_s = -math.inf  # of calls
        self._order = itertools.count()

    def __bool__(self) -> bool:
        return bool(self._flows)

    def holds(self, flow: Hashable) -> bool:
        """Whether a text of this flow waits."""
        return flow in self._flows

    def add(self, pending: "Pending") -> None:
        """Let a text wait for its turn."""
        flow = self._flows.get(pending.flow)
        if flow is None:
            flow = self._flows[pending.flow] = _Flow(self._virtual_tokens)
        heapq.heappush(flow.heap, (pending.deadline_s, next(self._order), pending))
        flow.size += 1
        self.tokens += pending.cost_tokens
        if pending.flow is None:
            self._latest_deadline_s = max(self._latest_deadline_s, pending.deadline_s)

    def discard(self, pending: "Pending") -> None:
        """Forget a text, whose `waits` is false by now."""
        flow = self._flows[pending.flow]
        flow.size -= 1
        self.tokens -= pending.cost_tokens
        if not flow.size:
            del self._flows[pending.flow]
            if pending.flow is None:
                self._latest_deadline_s = -math.inf
        elif len(flow.heap) > 2 * flow.size + 64:
            flow.heap = [entry for entry in flow.heap if entry[2].waits]
            heapq.heapify(flow.heap)

    def first(self) -> "Pending":
        """The text whose turn it is. Only when there is one."""
        heap = min(self._flows.values(), key=lambda flow: flow.virtual_tokens).heap
        while not heap[0][2].waits:
            heapq.heappop(heap)
        return heap[0][2]

    def charge(self, pending: "Pending") -> None:
        """Count a text, which still waits, as its flow's turn."""
        flow = self._flows[pending.flow]
        self._virtual_tokens = max(self._virtual_tokens, flow.virtual_tokens)
        shares = flow.size if pending.flow is None else 1
        flow.virtual_tokens += pending.tokens / shares

    def tokens_before(self, deadline_s: float) -> int:
        """Tokens of calls that go before a call's text with this deadline, and of all streams."""
        calls = self._flows.get(None)
        if calls is None or deadline_s >= self._latest_deadline_s:
            return self.tokens
        later = (
            pending.cost_tokens
            for its_deadline_s, _, pending in calls.heap
            if pending.waits and its_deadline_s > deadline_s
        )
        return self.tokens - sum(later)

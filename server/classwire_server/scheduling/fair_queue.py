"""The order of texts of one priority.

Flows share the engine by start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996). Each flow
has a virtual time, which advances by the tokens taken from it; the flow with the smallest is next.
Each stream is a flow. All calls together are one flow, ordered by deadline, whose share grows with
the number of its queued texts. A flow that returns keeps its virtual time if that is ahead of the
others: else streams with one queued text at a time would starve the rest.
"""

import heapq
import itertools
from collections import defaultdict
from collections.abc import Hashable
from itertools import repeat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .batch import Pending

STEP_S = 0.005
"""Resolution of deadlines in TokensByDeadline."""
STEPS = 200
"""Steps per precomputed sum, so that a query adds few terms."""
LATEST_S = 1e12
"""Later deadlines, and none, count as this one."""
LOOK_AHEAD_TEXTS = 16
"""Maximum number of texts examined for one that fits."""


class TokensByDeadline:
    """Sums of tokens by deadline, in a time that does not grow with the number of texts.

    Not safe for use by several threads.
    """

    def __init__(self) -> None:
        self._steps: defaultdict[int, int] = defaultdict(int)
        self._sums: defaultdict[int, int] = defaultdict(int)

    def add(self, deadline_s: float, tokens: int) -> None:
        """Add tokens with this deadline; a negative number removes them."""
        step = _step(deadline_s)
        for counts, place in ((self._steps, step), (self._sums, step // STEPS)):
            counts[place] += tokens
            if not counts[place]:
                del counts[place]

    def after(self, deadline_s: float) -> int:
        """Tokens with a later deadline."""
        step = _step(deadline_s)
        place = step // STEPS
        near = range(step + 1, (place + 1) * STEPS)
        far = sum(tokens for later, tokens in self._sums.items() if later > place)
        return far + sum(map(self._steps.get, near, repeat(0)))


def _step(deadline_s: float) -> int:
    return int(min(deadline_s, LATEST_S) / STEP_S)


class _Flow:
    """Texts of one sender, ordered by deadline, then by arrival.

    `size` counts the queued texts. The heap may hold others, which have left the queue.
    """

    __slots__ = ("heap", "size", "virtual_tokens")

    def __init__(self, virtual_tokens: float) -> None:
        self.virtual_tokens = virtual_tokens
        self.heap: list[tuple[float, int, Pending]] = []
        self.size = 0


class FairQueue:
    """Texts of one priority; those whose `is_queued` is false have left.

    Not safe for use by several threads. `tokens` is the number of queued tokens.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self._flows: dict[Hashable, _Flow] = {}
        self._virtual_tokens = 0.0
        self._idle_virtual_tokens: dict[Hashable, float] = {}  # of flows without queued texts
        self._call_tokens = TokensByDeadline()
        self._order = itertools.count()

    def __bool__(self) -> bool:
        return bool(self._flows)

    def holds(self, flow: Hashable) -> bool:
        """Whether a text of this flow is queued."""
        return flow in self._flows

    def add(self, pending: "Pending") -> None:
        """Queue a text."""
        flow = self._flows.get(pending.flow)
        if flow is None:
            idle_tokens = self._idle_virtual_tokens.pop(pending.flow, 0.0)
            flow = self._flows[pending.flow] = _Flow(max(self._virtual_tokens, idle_tokens))
        heapq.heappush(flow.heap, (pending.deadline_s, next(self._order), pending))
        flow.size += 1
        self._count(pending, pending.cost_tokens)

    def transfer_cost(self, pending: "Pending", cost_tokens: int) -> None:
        """Charge a queued text the cost of one with the same key, which has left the queue."""
        pending.cost_tokens = cost_tokens
        self._count(pending, cost_tokens)

    def discard(self, pending: "Pending") -> None:
        """Remove a text, whose `is_queued` is already false."""
        flow = self._flows[pending.flow]
        flow.size -= 1
        self._count(pending, -pending.cost_tokens)
        if not flow.size:
            self._remove_flow(pending.flow)
        elif len(flow.heap) > 2 * flow.size + 64:
            flow.heap = [entry for entry in flow.heap if entry[2].is_queued]
            heapq.heapify(flow.heap)

    def first(self) -> "Pending":
        """The next text. The queue must not be empty."""
        heap = self._next_flow().heap
        while not heap[0][2].is_queued:
            heapq.heappop(heap)
        return heap[0][2]

    def first_within(self, tokens: int) -> "Pending | None":
        """The first text of at most `tokens`, among the first LOOK_AHEAD_TEXTS of the next flow.

        The queue must not be empty.
        """
        heap = self._next_flow().heap
        examined: list[tuple[float, int, Pending]] = []
        found = None
        while heap and found is None and len(examined) < LOOK_AHEAD_TEXTS:
            entry = heapq.heappop(heap)
            if entry[2].is_queued:
                examined.append(entry)
                found = entry[2] if entry[2].tokens <= tokens else None
        for entry in examined:
            heapq.heappush(heap, entry)
        return found

    def charge(self, pending: "Pending") -> None:
        """Advance the virtual time of a text's flow. The text must still be queued."""
        flow = self._flows[pending.flow]
        self._virtual_tokens = max(self._virtual_tokens, flow.virtual_tokens)
        shares = flow.size if pending.flow is None else 1
        flow.virtual_tokens += pending.tokens / shares

    def tokens_before(self, deadline_s: float) -> int:
        """Tokens of all streams, and of calls that go before a call's text with this deadline."""
        return self.tokens - self._call_tokens.after(deadline_s)

    def _next_flow(self) -> _Flow:
        return min(self._flows.values(), key=lambda flow: flow.virtual_tokens)

    def _count(self, pending: "Pending", tokens: int) -> None:
        self.tokens += tokens
        if pending.flow is None:
            self._call_tokens.add(pending.deadline_s, tokens)

    def _remove_flow(self, flow: Hashable) -> None:
        """Remove an empty flow, and keep its virtual time while it is ahead of the others."""
        idle_tokens = self._idle_virtual_tokens
        idle_tokens[flow] = self._flows.pop(flow).virtual_tokens
        if not self._flows:
            idle_tokens.clear()  # no flow competes with another
        elif len(idle_tokens) > 2 * len(self._flows) + 64:
            now_tokens = self._virtual_tokens
            self._idle_virtual_tokens = {f: t for f, t in idle_tokens.items() if t > now_tokens}

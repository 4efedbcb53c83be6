"""Whose turn it is among texts of one priority. Pure, as scheduling is.

Flows take turns by start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996): each has a
virtual time, which moves on by the tokens taken from it, and the one that is behind is next. All
calls together are one flow, in which the earliest deadline goes first, and which counts as often as
it has texts; each stream is a flow. A flow that comes back goes on where it was, if that is ahead
of the others: otherwise those of which one text at a time waits could keep all others out.
"""

import heapq
import itertools
from collections import defaultdict
from collections.abc import Hashable
from itertools import repeat
from typing import TYPE_CHECKING

STEP_S = 0.005
"""Deadlines nearer to each other than this count as one."""
STEPS = 200
"""Steps that are summed ahead of being asked for, so that a sum has few terms."""
LATEST_S = 1e12
"""Whatever is due later, or never, counts as due then."""


class TokensByDeadline:
    """Tokens by their deadline, for sums in a time that does not grow with what waits.

    Not safe for use by several threads.
    """

    def __init__(self) -> None:
        self._steps: defaultdict[int, int] = defaultdict(int)
        self._sums: defaultdict[int, int] = defaultdict(int)

    def add(self, deadline_s: float, tokens: int) -> None:
        """Count tokens with this deadline; a negative number takes them away again."""
        step = _step(deadline_s)
        for counts, place in ((self._steps, step), (self._sums, step // STEPS)):
            counts[place] += tokens
            if not counts[place]:
                del counts[place]

    def after(self, deadline_s: float) -> int:
        """Tokens that are due later than this."""
        step = _step(deadline_s)
        place = step // STEPS
        near = range(step + 1, (place + 1) * STEPS)
        far = sum(tokens for its_place, tokens in self._sums.items() if its_place > place)
        return far + sum(map(self._steps.get, near, repeat(0)))


def _step(deadline_s: float) -> int:
    return int(min(deadline_s, LATEST_S) / STEP_S)


if TYPE_CHECKING:
    from .batch import Pending

LOOK_AHEAD_TEXTS = 16
"""How many texts are looked at for one that fits."""


class _Flow:
    """Texts of one sender: the earliest deadline first, then the first that came."""

    __slots__ = ("heap", "size", "virtual_tokens")

    def __init__(self, virtual_tokens: float) -> None:
        self.virtual_tokens = virtual_tokens
        self.heap: list[tuple[float, int, Pending]] = []
        self.size = 0


class FairQueue:
    """Texts of one priority, which know themselves whether they still wait.

    Not safe for use by several threads.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self._flows: dict[Hashable, _Flow] = {}
        self._virtual_tokens = 0.0
        self._left_tokens: dict[Hashable, float] = {}  # virtual times of flows that may come back
        self._due = TokensByDeadline()  # of calls
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
            left_tokens = self._left_tokens.pop(pending.flow, 0.0)
            flow = self._flows[pending.flow] = _Flow(max(self._virtual_tokens, left_tokens))
        heapq.heappush(flow.heap, (pending.deadline_s, next(self._order), pending))
        flow.size += 1
        self._count(pending, pending.cost_tokens)

    def inherit(self, pending: "Pending", cost_tokens: int) -> None:
        """Let a text that waits cost what one with the same key cost, which has left."""
        pending.cost_tokens = cost_tokens
        self._count(pending, cost_tokens)

    def discard(self, pending: "Pending") -> None:
        """Forget a text, whose `waits` is false by now."""
        flow = self._flows[pending.flow]
        flow.size -= 1
        self._count(pending, -pending.cost_tokens)
        if not flow.size:
            self._leave(pending.flow)
        elif len(flow.heap) > 2 * flow.size + 64:
            flow.heap = [entry for entry in flow.heap if entry[2].waits]
            heapq.heapify(flow.heap)

    def first(self) -> "Pending":
        """The text whose turn it is. Only when there is one."""
        heap = min(self._flows.values(), key=lambda flow: flow.virtual_tokens).heap
        while not heap[0][2].waits:
            heapq.heappop(heap)
        return heap[0][2]

    def first_within(self, tokens: int) -> "Pending | None":
        """The first text of no more than so many tokens, among a few of the flow whose turn it is.

        Only when there is a text.
        """
        heap = min(self._flows.values(), key=lambda flow: flow.virtual_tokens).heap
        looked_at: list[tuple[float, int, Pending]] = []
        found = None
        while heap and found is None and len(looked_at) < LOOK_AHEAD_TEXTS:
            entry = heapq.heappop(heap)
            if entry[2].waits:
                looked_at.append(entry)
                found = entry[2] if entry[2].tokens <= tokens else None
        for entry in looked_at:
            heapq.heappush(heap, entry)
        return found

    def charge(self, pending: "Pending") -> None:
        """Count a text, which still waits, as its flow's turn."""
        flow = self._flows[pending.flow]
        self._virtual_tokens = max(self._virtual_tokens, flow.virtual_tokens)
        shares = flow.size if pending.flow is None else 1
        flow.virtual_tokens += pending.tokens / shares

    def tokens_before(self, deadline_s: float) -> int:
        """Tokens of calls that go before a call's text with this deadline, and of all streams."""
        return self.tokens - self._due.after(deadline_s)

    def _count(self, pending: "Pending", tokens: int) -> None:
        self.tokens += tokens
        if pending.flow is None:
            self._due.add(pending.deadline_s, tokens)

    def _leave(self, flow: Hashable) -> None:
        """Forget a flow of which nothing waits, and how far it is once the others are there too."""
        left_tokens = self._left_tokens
        left_tokens[flow] = self._flows.pop(flow).virtual_tokens
        if not self._flows:
            left_tokens.clear()  # nobody waits for anybody
        elif len(left_tokens) > 2 * len(self._flows) + 64:
            now_tokens = self._virtual_tokens
            self._left_tokens = {f: t for f, t in left_tokens.items() if t > now_tokens}

"""The queue of one engine: texts by priority, bounded in tokens, with expiry and suspects."""

import heapq
import itertools
import math
from collections import deque

from .batch import Batch, Key, Pending, Priority
from .fair_queue import FairQueue

CLAIM = 0.1
"""Ageing: tokens that queued work may claim for each token of a higher priority taken before it."""


class RequestQueue:
    """Texts that wait for one engine, bounded in tokens.

    Texts with the same key are computed once, so only one of them costs tokens. Not safe for use by
    several threads: its owner holds a lock around each call.
    """

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._fair_queues = {priority: FairQueue() for priority in Priority}
        self._by_key: dict[Key, dict[Pending, None]] = {}
        self._deadlines: list[tuple[float, int, Pending]] = []
        self._suspects: deque[Pending] = deque()
        self._claim_tokens = dict.fromkeys(Priority, 0.0)
        self._size = 0
        self._order = itertools.count()

    def __len__(self) -> int:
        return self._size

    @property
    def tokens(self) -> int:
        """Queued tokens, suspects excluded."""
        return sum(fair_queue.tokens for fair_queue in self._fair_queues.values())

    def tokens_of(self, priority: Priority) -> int:
        """Queued tokens of a priority, suspects excluded."""
        return self._fair_queues[priority].tokens

    def tokens_before(self, priority: Priority, deadline_s: float) -> int:
        """Queued tokens that go before a new text of a call."""
        of_higher = sum(self._fair_queues[higher].tokens for higher in priority.higher)
        return of_higher + self._fair_queues[priority].tokens_before(deadline_s)

    def texts(self) -> list[Pending]:
        """All queued texts, in no order."""
        return list(itertools.chain.from_iterable(self._by_key.values()))

    def holds(self, key: Key) -> bool:
        """Whether a text with this key is queued."""
        return key in self._by_key

    @property
    def has_suspects(self) -> bool:
        """Whether a text is queued that may have ended the model's process: it must run alone."""
        while self._suspects and not self._suspects[0].is_queued:
            self._suspects.popleft()
        return bool(self._suspects)

    @property
    def earliest_deadline_s(self) -> float:
        """The earliest deadline of a queued text, math.inf for none."""
        deadlines = self._deadlines
        while deadlines and not deadlines[0][2].is_queued:
            heapq.heappop(deadlines)
        return deadlines[0][0] if deadlines else math.inf

    def has_room(self, pending: Pending) -> bool:
        """Whether a text of a stream may enter.

        Streams may fill half of the queue, so that calls find room. A stream without queued texts
        may always add one, so that no other stream can block it.
        """
        return (
            self.tokens + pending.tokens <= self._max_tokens // 2
            or not self._fair_queues[pending.priority].holds(pending.flow)
            or self.holds(pending.key)
        )

    def is_full(self, tokens: int, priority: Priority) -> bool:
        """Whether a call's tokens would exceed the bound, half of it for bulk work. An empty queue
        is never full.
        """
        bound = self._max_tokens // 2 if priority is Priority.BULK else self._max_tokens
        return self._size > 0 and self.tokens + tokens > bound

    def add(self, pending: Pending) -> None:
        """Queue a text."""
        same = self._by_key.setdefault(pending.key, {})
        pending.cost_tokens = 0 if same else pending.tokens
        same[pending] = None
        pending.is_queued = True
        self._size += 1
        if pending.is_suspect:
            self._suspects.append(pending)
        else:
            self._fair_queues[pending.priority].add(pending)
        if pending.deadline_s < math.inf:
            heapq.heappush(self._deadlines, (pending.deadline_s, next(self._order), pending))

    def next_priority(self) -> Priority | None:
        """The priority of the next batch: the highest, unless a lower one has claimed its turn."""
        queued = [priority for priority in Priority if self._fair_queues[priority]]
        for priority in reversed(queued[1:]):
            if self._claim_tokens[priority] >= self._fair_queues[priority].first().tokens:
                return priority
        return queued[0] if queued else None

    def first(self, priority: Priority) -> Pending | None:
        """The next text of a priority."""
        fair_queue = self._fair_queues[priority]
        return fair_queue.first() if fair_queue else None

    def take(self, priority: Priority, budget_tokens: int) -> Batch:
        """Take the next batch of a priority: texts in order while they fit into the budget.

        The first always fits. Texts with the same key share its row. The batch is empty if no text
        is queued.
        """
        fair_queue = self._fair_queues[priority]
        if any(self._fair_queues[higher] for higher in priority.higher):
            budget_tokens = min(budget_tokens, math.floor(self._claim_tokens[priority]))
        batch = Batch([], priority, 0)
        while fair_queue:
            first = fair_queue.first()
            if batch.rows and batch.tokens + first.tokens > budget_tokens:
                break
            self._add_row(batch, first)
        self._update_claims(priority, batch.tokens)
        return batch

    def fill_up(self, batch: Batch, enough_tokens: int, most_tokens: int) -> None:
        """Add work that yields to an interactive batch that leaves no interactive text queued,
        until it has enough tokens or no more fits.

        Later texts may overtake a text that does not fit. They do not reduce its claim.
        """
        interactive = self._fair_queues[Priority.INTERACTIVE]
        for fair_queue in (self._fair_queues[Priority.LARGE], self._fair_queues[Priority.BULK]):
            while fair_queue and not interactive and batch.tokens < min(enough_tokens, most_tokens):
                text = fair_queue.first_within(most_tokens - batch.tokens)
                if text is None:
                    break
                self._add_row(batch, text)
        self._update_claims(Priority.BULK, 0)  # a priority that this emptied loses its claim

    def take_suspect(self) -> Batch:
        """Take one suspect and the texts with its key; empty if no suspect is queued."""
        if not self.has_suspects:
            return Batch([], Priority.INTERACTIVE, 0)
        suspect = self._suspects.popleft()
        return Batch([self._take_row(suspect)], suspect.priority, suspect.tokens)

    def remove(self, pending: Pending) -> bool:
        """Remove a text; False if it is not queued."""
        if not pending.is_queued:
            return False
        self._discard(pending)
        other = next(iter(self._by_key.get(pending.key, ())), None)
        if other is not None and pending.cost_tokens:  # the other is now the one to compute
            if other.is_suspect:
                other.cost_tokens = pending.cost_tokens
            else:
                self._fair_queues[other.priority].transfer_cost(other, pending.cost_tokens)
        return True

    def expire(self, now_s: float) -> list[Pending]:
        """Remove and return all texts whose deadline has passed."""
        expired = []
        while self.earliest_deadline_s <= now_s:
            pending = heapq.heappop(self._deadlines)[2]
            self.remove(pending)
            expired.append(pending)
        return expired

    def take_all(self) -> list[Pending]:
        """Remove and return all texts."""
        texts = self.texts()
        for pending in texts:
            self._discard(pending)
        return texts

    def _add_row(self, batch: Batch, pending: Pending) -> None:
        """Move a text and those with its key into a batch, at the cost of the text's flow."""
        batch.tokens += pending.tokens
        self._fair_queues[pending.priority].charge(pending)
        batch.rows.append(self._take_row(pending))

    def _take_row(self, pending: Pending) -> list[Pending]:
        """Take a text and those with its key, the text first."""
        row = [pending, *(other for other in self._by_key[pending.key] if other is not pending)]
        for text in row:
            self._discard(text)
        return row

    def _discard(self, pending: Pending) -> None:
        pending.is_queued = False
        self._size -= 1
        same = self._by_key[pending.key]
        del same[pending]
        if not same:
            del self._by_key[pending.key]
        if not pending.is_suspect:
            self._fair_queues[pending.priority].discard(pending)
        if len(self._deadlines) > 2 * self._size + 64:  # free texts that left before their deadline
            self._deadlines = [entry for entry in self._deadlines if entry[2].is_queued]
            heapq.heapify(self._deadlines)

    def _update_claims(self, taken: Priority, tokens: int) -> None:
        """Reduce the claim of a priority by tokens taken, and grow those of lower ones; a priority
        without queued work has no claim.
        """
        for priority, fair_queue in self._fair_queues.items():
            if not fair_queue:
                self._claim_tokens[priority] = 0.0
            elif priority is taken:
                self._claim_tokens[priority] = max(0.0, self._claim_tokens[priority] - tokens)
            elif taken in priority.higher:
                self._claim_tokens[priority] += CLAIM * tokens

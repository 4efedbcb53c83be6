"""What waits for the device, and in which order it goes. Pure, as scheduling is."""

import heapq
import itertools
import math
from collections import deque

from .batch import Batch, Key, Pending, Priority
from .fair_queue import FairQueue

BULK_CLAIM = 0.1
"""Ageing: for each interactive token that goes before it, waiting bulk work may claim this much."""


class RequestQueue:
    """Texts that wait for one engine, bounded in tokens.

    A text with the same key as one that waits costs nothing: they are computed once. Not safe for
    use by several threads: its owner holds a lock around each call.
    """

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._turns = {priority: FairQueue() for priority in Priority}
        self._same: dict[Key, dict[Pending, None]] = {}
        self._deadlines: list[tuple[float, int, Pending]] = []
        self._suspects: deque[Pending] = deque()
        self._bulk_claim_tokens = 0.0
        self._size = 0
        self._order = itertools.count()

    def __len__(self) -> int:
        return self._size

    @property
    def tokens(self) -> int:
        """Tokens that wait to be computed."""
        return sum(turns.tokens for turns in self._turns.values())

    def texts(self) -> list[Pending]:
        """All that waits, in no order."""
        return list(itertools.chain.from_iterable(self._same.values()))

    @property
    def has_suspects(self) -> bool:
        """Whether a text waits that may have ended the model's process: it must run alone."""
        while self._suspects and not self._suspects[0].waits:
            self._suspects.popleft()
        return bool(self._suspects)

    @property
    def earliest_deadline_s(self) -> float:
        """No deadline passes before this."""
        deadlines = self._deadlines
        while deadlines and not deadlines[0][2].waits:
            heapq.heappop(deadlines)
        return deadlines[0][0] if deadlines else math.inf

    def holds(self, key: Key) -> bool:
        """Whether a text with this key waits."""
        return key in self._same

    def has_room(self, pending: Pending) -> bool:
        """Whether a text of a stream may wait.

        Streams may fill half of the queue, so that there is room for calls; a stream of which
        nothing waits always has room for a text, so that no other stream can keep it out.
        """
        turns = self._turns[pending.priority]
        return (
            self.tokens + pending.tokens <= self._max_tokens // 2
            or not turns.holds(pending.flow)
            or self.holds(pending.key)
        )

    def is_full(self, tokens: int, priority: Priority) -> bool:
        """Whether so many tokens of a call would pass the bound, half of it for bulk work; an empty
        queue takes anything.
        """
        bound = self._max_tokens if priority is Priority.INTERACTIVE else self._max_tokens // 2
        return self._size > 0 and self.tokens + tokens > bound

    def tokens_before(self, priority: Priority, deadline_s: float) -> int:
        """Tokens that go before a call's text which comes now."""
        interactive = self._turns[Priority.INTERACTIVE]
        if priority is Priority.INTERACTIVE:
            return interactive.tokens_before(deadline_s)
        return interactive.tokens + self._turns[Priority.BULK].tokens_before(deadline_s)

    def add(self, pending: Pending) -> None:
        """Let a text wait."""
        same = self._same.setdefault(pending.key, {})
        pending.cost_tokens = 0 if same else pending.tokens
        same[pending] = None
        pending.waits = True
        self._size += 1
        if pending.deaths:
            self._suspects.append(pending)
        else:
            self._turns[pending.priority].add(pending)
        if pending.deadline_s < math.inf:
            heapq.heappush(self._deadlines, (pending.deadline_s, next(self._order), pending))

    def remove(self, pending: Pending) -> bool:
        """Take a text out; False when it no longer waits."""
        if not pending.waits:
            return False
        self._take_out(pending)
        heir = next(iter(self._same.get(pending.key, ())), None)
        if heir is not None and pending.cost_tokens:  # it must be computed for another, then
            if heir.deaths:
                heir.cost_tokens = pending.cost_tokens
            else:
                self._turns[heir.priority].inherit(heir, pending.cost_tokens)
        return True

    def expire(self, now_s: float) -> list[Pending]:
        """Take out all texts whose deadline has passed."""
        expired = []
        while self.earliest_deadline_s <= now_s:
            pending = heapq.heappop(self._deadlines)[2]
            self.remove(pending)
            expired.append(pending)
        return expired

    def next_priority(self) -> Priority | None:
        """Whose turn it is: interactive work's, unless bulk work has a claim by now."""
        interactive, bulk = self._turns[Priority.INTERACTIVE], self._turns[Priority.BULK]
        if not bulk:
            return Priority.INTERACTIVE if interactive else None
        if not interactive or self._bulk_claim_tokens >= bulk.first().tokens:
            return Priority.BULK
        return Priority.INTERACTIVE

    def tokens_of(self, priority: Priority) -> int:
        """Tokens of a priority that wait to be computed."""
        return self._turns[priority].tokens

    def first(self, priority: Priority) -> Pending | None:
        """The text of a priority that goes next."""
        turns = self._turns[priority]
        return turns.first() if turns else None

    def take(self, priority: Priority, budget_tokens: int) -> Batch:
        """Take the next batch of a priority: texts in order, until the next would pass the budget.

        The first always fits. Texts with the same key come along. Empty when nothing waits.
        """
        turns = self._turns[priority]
        if priority is Priority.BULK and self._turns[Priority.INTERACTIVE]:
            budget_tokens = min(budget_tokens, math.floor(self._bulk_claim_tokens))
        batch = Batch([], priority, 0)
        while turns:
            first = turns.first()
            if batch.rows and batch.tokens + first.tokens > budget_tokens:
                break
            self._move(first, turns, batch)
        self._age(priority, batch.tokens)
        return batch

    def fill_up(self, batch: Batch, enough_tokens: int, most_tokens: int) -> None:
        """Let bulk work go along in a batch of interactive work that leaves none waiting, until
        there is enough or no more fits.

        A bulk text that does not fit is overtaken by the next few; what overtakes it is not taken
        from its claim.
        """
        interactive, bulk = self._turns[Priority.INTERACTIVE], self._turns[Priority.BULK]
        while bulk and not interactive and batch.tokens < min(enough_tokens, most_tokens):
            text = bulk.first_within(most_tokens - batch.tokens)
            if text is None:
                break
            self._move(text, bulk, batch)
        self._age(Priority.BULK, 0)  # where no bulk work is left, nor is its claim

    def take_suspect(self) -> Batch:
        """Take one text that must run alone, with those of the same key; empty when none waits."""
        if not self.has_suspects:
            return Batch([], Priority.INTERACTIVE, 0)
        suspect = self._suspects.popleft()
        return Batch([self._take_same(suspect)], suspect.priority, suspect.tokens)

    def take_all(self) -> list[Pending]:
        """Take out all that waits."""
        texts = self.texts()
        for pending in texts:
            self._take_out(pending)
        return texts

    def _move(self, pending: Pending, turns: FairQueue, batch: Batch) -> None:
        """Take a text, and those with the same key, into a batch."""
        batch.tokens += pending.tokens
        turns.charge(pending)
        batch.rows.append(self._take_same(pending))

    def _take_same(self, pending: Pending) -> list[Pending]:
        """Take a text and those with the same key, the text first."""
        row = [pending, *(other for other in self._same[pending.key] if other is not pending)]
        for text in row:
            self._take_out(text)
        return row

    def _take_out(self, pending: Pending) -> None:
        pending.waits = False
        self._size -= 1
        same = self._same[pending.key]
        del same[pending]
        if not same:
            del self._same[pending.key]
        if not pending.deaths:
            self._turns[pending.priority].discard(pending)
        if len(self._deadlines) > 2 * self._size + 64:  # not to keep what has left until it is due
            self._deadlines = [entry for entry in self._deadlines if entry[2].waits]
            heapq.heapify(self._deadlines)

    def _age(self, taken: Priority, tokens: int) -> None:
        if not self._turns[Priority.BULK]:
            self._bulk_claim_tokens = 0.0
        elif taken is Priority.INTERACTIVE:
            self._bulk_claim_tokens += BULK_CLAIM * tokens
        else:
            self._bulk_claim_tokens = max(0.0, self._bulk_claim_tokens - tokens)

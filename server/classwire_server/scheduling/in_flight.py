"""The batches that the engine holds."""

from .batch import Batch, Key, Pending, Priority


class InFlight:
    """Batches on the engine's lanes, the one sent ahead of the next free lane, and the urgent one.

    Not safe for use by several threads. While `is_exclusive` is true a suspect runs, and no other
    batch may start.
    """

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.batches: list[Batch] = []
        self.urgent: Batch | None = None
        self.is_exclusive = False
        self._rows: dict[Key, list[Pending]] = {}

    def __bool__(self) -> bool:
        return bool(self._rows)

    @property
    def free_lanes(self) -> int:
        """Number of lanes without a batch."""
        return max(0, self.lanes - len(self.batches))

    @property
    def shortest_tokens(self) -> int:
        """Tokens of the smallest batch on the lanes."""
        return min(batch.tokens for batch in self.batches)

    @property
    def priorities(self) -> set[Priority]:
        """The priorities of the batches on the lanes."""
        return {batch.priority for batch in self.batches}

    def tokens_before(self, priority: Priority) -> int:
        """Tokens that work of a priority waits for, without those of batches that yield to it."""
        return sum(
            batch.tokens for batch in self.batches if priority.yields or not batch.priority.yields
        )

    def row(self, key: Key) -> list[Pending] | None:
        """The row of texts with this key, if one is in flight."""
        return self._rows.get(key)

    def enter(self, batch: Batch, *, is_exclusive: bool = False) -> Batch:
        """Count a batch as in flight."""
        self._rows.update((row[0].key, row) for row in batch.rows)
        if batch.is_urgent:
            self.urgent = batch
        else:
            self.batches.append(batch)
            self.is_exclusive = is_exclusive
        return batch

    def leave(self, batch: Batch) -> None:
        """Count a batch as over."""
        for row in batch.rows:
            del self._rows[row[0].key]
        if batch.is_urgent:
            self.urgent = None
        else:
            self.batches.remove(batch)
            self.is_exclusive = False

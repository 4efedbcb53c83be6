"""What a trace is told of texts that were read."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint
    from ..pending import Priority


class TextsRead(NamedTuple):
    """Texts of one message, read and tokenized between two instants of the monotonic clock.

    `bad` is how many of them ended so.
    """

    checkpoint: "Checkpoint"
    priority: "Priority"
    texts: int
    bad: int
    tokens: int
    began_s: float
    ended_s: float

"""What a shadow has found."""

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

from classwire_server.aggregates import SCORES, Histogram


class Comparison(Enum):
    """What became of a text that a shadow was to score.

    Both models agree if they give the same highest label. The server sheds a text while it has
    other work. A text has failed if the other model cannot score it.
    """

    AGREED = "agreed"
    DIFFERED = "differed"
    SHED = "shed"
    FAILED = "failed"


@dataclass
class ShadowFigures:
    """What a shadow has found since the server started.

    `differences` are those between the model's highest score and the other's score of that label.
    """

    texts: Counter[Comparison] = field(default_factory=Counter)
    differences: Histogram = field(default_factory=lambda: Histogram(bounds=SCORES))
    is_running: bool = False

    def copy(self) -> "ShadowFigures":
        """Figures that no longer change."""
        return ShadowFigures(Counter(self.texts), self.differences.copy(), self.is_running)

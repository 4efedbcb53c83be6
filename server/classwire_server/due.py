"""How much work is due when. Pure, as scheduling is."""

from collections import defaultdict
from itertools import repeat

STEP_S = 0.005
"""Deadlines nearer to each other than this count as one."""
STEPS = 200
"""Steps that are summed ahead of being asked for, so that a sum has few terms."""
LATEST_S = 1e12
"""Whatever is due later, or never, counts as due then."""


class DueTokens:
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

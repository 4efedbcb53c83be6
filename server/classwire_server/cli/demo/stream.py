"""The stream of reviews: what has come so far, and what it shows at the end."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.text import Text

from classwire import Classification, Client, StreamResult
from classwire.cli.rendering import bar, bar_lines

from .crash import Crash
from .reviews import Review

STARS = ("1 star", "2 stars", "3 stars", "4 stars", "5 stars")
MOST_BARS = 10
"""Maximum bars of the histogram. Labels that were found most often have one."""


class ReviewStream:
    """Sends reviews by one stream, and counts the answers.

    `crash` happens when half of the answers are there. One thread calls `run`; any may call
    `lines`.
    """

    def __init__(
        self, labels: Sequence[str], reviews: Sequence[Review], crash: Crash | None
    ) -> None:
        self._labels = tuple(dict.fromkeys(labels))
        self._has_stars = tuple(labels) == STARS
        self._reviews = reviews
        self._crash = crash
        self._answers: Counter[str] = Counter()
        self._found: Counter[str] = Counter()
        self._errors = self._cached = self._exact = self._near = 0
        self._before_crash = 0
        self._started_s = self._last_s = time.monotonic()
        self._longest_pause_s = 0.0

    def run(self, client: Client, model: str, item_timeout_s: float) -> None:
        """Send all reviews, and return when each is answered."""
        texts = [review.text for review in self._reviews]
        self._started_s = self._last_s = time.monotonic()
        results = client.classify_stream(
            texts, model=model, item_timeout_s=item_timeout_s, truncation="drop_end"
        )
        for result in results:
            self._count(result)
            if self._crash and self._answers.total() == len(texts) // 2:
                self._before_crash = self._answers.total()
                self._crash.happen()

    def lines(self, width: int) -> Iterator[Text]:
        """Yield the progress, the crash once it has happened, and a histogram of the labels."""
        answered, total = self._answers.total(), len(self._reviews)
        rate = answered / max(self._last_s - self._started_s, 1e-6)
        numbers = f"{answered:>{len(str(total))}} of {total} {rate:>6,.0f} texts/s"
        room = max(width - len(numbers) - 2, 1)
        yield Text.assemble((bar(answered / total, room).ljust(room), "magenta"), "  ", numbers)
        killed = self._crash.pid if self._crash else None
        crash = f"process {killed} killed after {self._before_crash} answers" if killed else ""
        yield Text(crash, "bold red")
        bars = [
            (label, self._found[label] / total, f"{self._found[label]:>{len(str(total))}}")
            for label in self._most_found()
        ]
        yield from bar_lines(bars, width)

    def findings(self) -> Iterator[tuple[str, str]]:
        """Yield what the stream has shown: short sentences, each with a style."""
        sent = [str(index) for index in range(len(self._reviews))]
        once = sum(self._answers[each] == 1 for each in sent)
        twice = sum(self._answers[each] > 1 for each in sent)
        lost = len(sent) - once - twice
        style = "bold green" if once == len(sent) else "bold red"
        yield f"{len(sent)} ids sent: {once} answered once, {twice} twice, {lost} lost", style
        yield f"{self._errors} errors, {self._cached} answers from the cache", ""
        yield from self._crash_in_words()
        if self._has_stars:
            shares = (each / len(sent) for each in (self._exact, self._near))
            exact, near = (f"{share:.0%}".replace("%", " %") for share in shares)
            yield f"{exact} have the customer's stars, {near} at most one off", ""

    def _crash_in_words(self) -> Iterator[tuple[str, str]]:
        if self._crash is None:
            yield "nothing was killed: the server is not the demo's own", ""
        elif self._crash.pid is None:
            yield "nothing was killed: no process of the model was found", ""
        else:
            successor = self._crash.successor
            process = f"process {successor}" if successor else "another process"
            yield f"{process} took over; the longest wait took {self._longest_pause_s:.2f} s", ""

    def _most_found(self) -> Sequence[str]:
        if len(self._labels) <= MOST_BARS:
            return self._labels
        most = {label for label, _ in self._found.most_common(MOST_BARS)}
        return [label for label in self._labels if label in most] or self._labels[:MOST_BARS]

    def _count(self, result: StreamResult) -> None:
        now_s = time.monotonic()
        self._longest_pause_s = max(self._longest_pause_s, now_s - self._last_s)
        self._last_s = now_s
        self._answers[result.id] += 1
        outcome = result.outcome
        if not isinstance(outcome, Classification):
            self._errors += 1
            return
        self._found[outcome.label or ""] += 1
        self._cached += outcome.timing.cached
        distance = abs(outcome.scores[0].label_id + 1 - self._reviews[result.index].stars)
        self._exact += distance == 0
        self._near += distance <= 1

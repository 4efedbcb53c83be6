"""What `classwire demo` does with a server, and how it shows it."""

import time
from collections import Counter
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text as Line

from .. import Classification, ClasswireError, Client, LabelScore, Outcome
from .connection import DEFAULT_TIMEOUT_S, Connection
from .rendering import (
    fitted,
    print_lines,
    score_lines,
    stage_lines,
    visible,
)

REFERENCE_TEXT = "I really love this book"

BATCH = (
    "The fabric is soft, it fits perfectly and I wear it every week.",
    "Nice colour, but it runs small and the seams feel cheap.",
    "It's okay. Nothing special.",
    "Fell apart in the first wash. I want my money back!",
    "Best pasta in town, and the waiter was a delight.",
    "   ",
)

_SUBJECTS = ("dress", "book", "film", "hotel", "phone", "soup", "jacket", "app")
_OPINIONS = (
    "I love this {}, it is perfect.",
    "A good {}, I would buy it again.",
    "The {} is okay, neither good nor bad.",
    "I expected more from this {}.",
    "This {} is terrible, do not buy it.",
    "My sister is very happy with her {}!",
)
READY_TIMEOUT_S = 120.0


class Showcase:
    """The reference job by unary call, batch and stream, printed as it happens."""

    def __init__(self, client: Client, connection: Connection, out: Console) -> None:
        self._client = client
        self._model = connection.model
        self._target = connection.target
        self._timeout_s = connection.timeout_s or DEFAULT_TIMEOUT_S
        self._out = out

    def run(self) -> None:
        """Do all of it; raises ClasswireError when the server fails."""
        self._meet()
        self._unary()
        self._batch()
        self._stream()

    def _meet(self) -> None:
        self._client.wait_until_ready(READY_TIMEOUT_S)
        served = self._client.model(self._model)
        self._model = served.name
        self._labels = served.labels
        self._say(
            f"{served.name} at {self._target}: {served.architecture}, "
            f"{len(served.labels)} labels, {served.device}, {served.precision}"
        )

    def _unary(self) -> None:
        self._title("One text, by unary call", REFERENCE_TEXT)
        result = self._client.classify(
            REFERENCE_TEXT, model=self._model, include_logits=True, include_tokens=True
        )
        seen = self._client.tokenize(REFERENCE_TEXT, model=self._model)
        lines = stage_lines(result, seen.attention_mask, self._labels, self._out.width - 2)
        print_lines(self._out, lines, indent=2)
        spent = result.timing
        parts = (spent.total_us, spent.tokenize_us, spent.queue_us, spent.inference_us)
        total, tokenize, queue, model = (f"{part / 1000:.1f}" for part in parts)
        self._say(f"  {total} ms in the server: tokenize {tokenize}, queue {queue}, model {model}")

    def _batch(self) -> None:
        self._title(f"{len(BATCH)} texts, one call", "a bad text fails alone")
        outcomes = self._client.classify_batch(BATCH, model=self._model)
        for text, outcome in zip(BATCH, outcomes, strict=True):
            self._say(f"  {self._verdict(outcome)}  {fitted(repr(text), self._text_width())}")

    def _stream(self) -> None:
        texts = list(_sentences())
        self._title(f"{len(texts)} texts, one stream", "answers come back as they are ready")
        started_s = time.perf_counter()
        outcomes = [
            outcome for _, outcome in self._client.classify_stream(texts, model=self._model)
        ]
        elapsed_s = time.perf_counter() - started_s
        results = [outcome for outcome in outcomes if isinstance(outcome, Classification)]
        found = Counter(result.label for result in results)
        shares = [
            LabelScore(label, label_id, found[label] / max(len(results), 1))
            for label_id, label in enumerate(self._labels)
        ]
        print_lines(self._out, score_lines(shares, "softmax", self._out.width - 2), indent=2)
        errors = len(outcomes) - len(results)
        self._say(
            f"  {len(outcomes)} answers, {errors} errors, "
            f"{elapsed_s:.2f} s: {len(outcomes) / elapsed_s:,.0f} texts/s"
        )
        self._say("")

    def _verdict(self, outcome: Outcome) -> str:
        if isinstance(outcome, ClasswireError):
            return str(outcome.reason or outcome.code.name).ljust(self._verdict_width())
        shown = f"{fitted(outcome.label, 20)}  {outcome.score:.4f}"
        return shown.ljust(self._verdict_width())

    def _verdict_width(self) -> int:
        return max(len("EMPTY_TEXT"), max(len(fitted(name, 20)) for name in self._labels) + 8)

    def _text_width(self) -> int:
        return max(self._out.width - self._verdict_width() - 4, 20)

    def _title(self, what: str, detail: str) -> None:
        self._out.print()
        self._out.print(Line.assemble((what, "bold"), (f" ({visible(detail)})", "dim")))

    def _say(self, line: str) -> None:
        self._out.print(Line(line))


def _sentences() -> Iterator[str]:
    for subject in _SUBJECTS:
        for opinion in _OPINIONS:
            yield opinion.format(subject)

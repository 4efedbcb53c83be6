"""The calls of `classwire demo`, and their display."""

import time
from collections import Counter

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text as Line

from classwire import Classification, ClasswireError, Client, Outcome, Reason

from .connection import Connection
from .rendering import bar_lines, fitted, print_lines, stage_lines

REFERENCE_TEXT = "I really love this book"

BATCH = (
    REFERENCE_TEXT,
    "The fabric is soft, and it fits perfectly.",
    "Nice colour, but it runs small and the seams feel cheap.",
    "It's okay. Nothing special.",
    "Fell apart in the first wash. I want my money back!",
    "Best pasta in town, and such a friendly waiter.",
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
_INDENT = 2
_LONGEST_LABEL = 20


class Showcase:
    """Classifies by unary call, batch and stream, and prints each result when it comes."""

    def __init__(self, client: Client, connection: Connection, out: Console) -> None:
        self._client = client
        self._model = connection.model
        self._target = connection.target
        self._out = out
        self._labels: tuple[str, ...] = ()

    def run(self) -> None:
        """Make all calls. Raises ClasswireError if the server fails."""
        self._meet()
        self._unary()
        self._batch()
        self._stream()

    def _meet(self) -> None:
        self._client.wait_until_ready(READY_TIMEOUT_S)
        served = self._client.model(self._model)
        self._model, self._labels = served.name, served.labels
        self._say(f"Model {served.name} at {self._target}")
        self._note(
            f"{served.architecture}, {len(served.labels)} labels, "
            f"{served.precision} on {served.device}"
        )

    def _unary(self) -> None:
        self._title("One text by unary call", f'"{REFERENCE_TEXT}"')
        result = self._client.classify(
            REFERENCE_TEXT, model=self._model, include_logits=True, include_tokens=True
        )
        seen = self._client.tokenize(REFERENCE_TEXT, model=self._model)
        width = self._out.width - _INDENT
        lines = stage_lines(result, seen.attention_mask, self._labels, width)
        print_lines(self._out, lines, _INDENT)
        spent = result.timing
        parts = (spent.total_us, spent.tokenize_us, spent.queue_us, spent.inference_us)
        total, tokenize, queue, model = (f"{part / 1000:.1f}" for part in parts)
        self._note(f"{total} ms in the server: tokenize {tokenize}, queue {queue}, model {model}")

    def _batch(self) -> None:
        self._title(f"{len(BATCH)} texts in one call", "a bad text fails alone")
        outcomes = self._client.classify_batch(BATCH, model=self._model)
        for text, outcome in zip(BATCH, outcomes, strict=True):
            self._verdict(text, outcome)

    def _stream(self) -> None:
        texts = [opinion.format(subject) for subject in _SUBJECTS for opinion in _OPINIONS]
        texts.insert(0, REFERENCE_TEXT)
        self._title(f"{len(texts)} texts by one stream", "the first, and a count for each label")
        started_s = time.perf_counter()
        outcomes = {
            result.id: result.outcome
            for result in self._client.classify_stream(texts, model=self._model)
        }
        elapsed_s = time.perf_counter() - started_s
        self._verdict(REFERENCE_TEXT, outcomes["0"])
        found = Counter(
            each.label for each in outcomes.values() if isinstance(each, Classification)
        )
        bars = [
            (label, found[label] / len(outcomes), str(found[label]))
            for label in dict.fromkeys(self._labels)
        ]
        print_lines(self._out, bar_lines(bars, self._out.width - _INDENT), _INDENT)
        errors = len(outcomes) - found.total()
        self._note(f"{elapsed_s:.2f} s, {len(outcomes) / elapsed_s:,.0f} texts/s, {errors} errors")
        self._say("")

    def _verdict(self, text: str, outcome: Outcome) -> None:
        """Print the text, and its best label with score or the reason of its error."""
        label_width = max(cell_len(fitted(label, _LONGEST_LABEL)) for label in self._labels)
        verdict_width = max(label_width + len("  0.0000"), len(Reason.EMPTY_TEXT))
        if isinstance(outcome, ClasswireError):
            verdict = outcome.reason or outcome.code.name
        else:
            label = set_cell_size(fitted(outcome.label or "", _LONGEST_LABEL), label_width)
            verdict = f"{label}  {outcome.score:.4f}"
        line = f"{set_cell_size(verdict, verdict_width)}  "
        room = max(self._out.width - _INDENT - cell_len(line), 20)
        self._say(" " * _INDENT + line + fitted(f'"{text}"', room))

    def _title(self, what: str, detail: str) -> None:
        self._out.print()
        self._out.print(Line.assemble((what, "bold"), f": {detail}"))

    def _note(self, note: str) -> None:
        self._out.print(Line(" " * _INDENT + note, style="dim"))

    def _say(self, line: str) -> None:
        self._out.print(Line(line))

"""The chapters of `classwire demo`: one text, a batch, a long text, a stream with a crash."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from classwire import Classification, ClasswireError, Client, Outcome, TextInput
from classwire.cli.connection import Connection
from classwire.cli.rendering import bar, fitted, token_blocks
from classwire.cli.windows import window_lines

from .crash import Crash
from .reviews import reviews
from .screen import Screen
from .stream import ReviewStream

REFERENCE_TEXT = "I really love this book"
BATCH = (
    "The fabric is soft, and it fits perfectly.",
    "Awful. It fell apart in the first wash.",
    "   ",
)
LONG_TEXT = Path(__file__).with_name("coat.txt")
WINDOW_TOKENS = 48
READY_TIMEOUT_S = 120.0
MOST_LABELS = 10
"""Maximum labels in a table: those with the highest scores."""
_LONGEST_LABEL = 20


class Show:
    """Makes each kind of call, and prints each result when it comes.

    With `own_server_pid`, the process id of a server of the demo's own, it kills the process of a
    model.
    """

    def __init__(
        self,
        client: Client,
        connection: Connection,
        screen: Screen,
        own_server_pid: int | None = None,
    ) -> None:
        self._client = client
        self._connection = connection
        self._screen = screen
        self._own_server_pid = own_server_pid

    def run(self) -> None:
        """Make all calls. Raises ClasswireError if the server fails."""
        self._client.wait_until_ready(READY_TIMEOUT_S)
        served = self._client.model(self._connection.model)
        self._model, self._labels = served.name, served.labels
        self._max_tokens = served.max_tokens or WINDOW_TOKENS
        self._screen.say(f"Model {served.name} at {self._connection.target}")
        self._screen.note(
            f"{served.architecture}, {len(served.labels)} labels, "
            f"{served.precision} on {served.device}"
        )
        self._unary()
        self._batch()
        if served.limits is not None and served.limits.max_windows_per_text:
            self._windows()
        self._stream()

    def _unary(self) -> None:
        result = self._client.classify(
            REFERENCE_TEXT, model=self._model, include_logits=True, include_tokens=True
        )
        self._screen.chapter("One text, stage by stage", f'"{REFERENCE_TEXT}"')
        width = self._screen.width
        self._screen.lines([*token_blocks(result.tokens, None, width), Text()])
        self._screen.lines(label_lines(self._labels, result, width))
        spent = result.timing
        parts = (spent.total_us, spent.tokenize_us, spent.queue_us, spent.inference_us)
        total, tokenize, queue, model = (f"{part / 1000:.1f}" for part in parts)
        self._screen.note(
            f"{total} ms in the server: tokenize {tokenize}, queue {queue}, model {model}"
        )

    def _batch(self) -> None:
        outcomes = self._client.classify_batch(BATCH, model=self._model)
        self._screen.chapter(f"{len(BATCH)} texts in one call", "A bad text fails alone.")
        label_width = max(cell_len(fitted(label, _LONGEST_LABEL)) for label in self._labels)
        verdicts = [verdict(outcome, label_width) for outcome in outcomes]
        verdict_width = max(map(cell_len, verdicts))
        room = max(self._screen.width - verdict_width - 2, 1)
        for text, shown in zip(BATCH, verdicts, strict=True):
            quoted = fitted(f'"{text}"', room)
            self._screen.lines([Text(f"{set_cell_size(shown, verdict_width)}  {quoted}")])

    def _windows(self) -> None:
        text = LONG_TEXT.read_text(encoding="utf-8")
        result = self._client.classify(
            text,
            model=self._model,
            truncation="windows",
            window_tokens=min(WINDOW_TOKENS, self._max_tokens),
            include_windows=True,
        )
        self._screen.chapter(
            f"A long text in {result.window_count} windows",
            f"praise, a complaint, praise: {len(text.split())} words",
        )
        self._screen.lines(window_lines(result, TextInput(text), self._labels, self._screen.width))
        self._screen.note(f"the whole text: {verdict(result)} ({result.aggregation})", "bold")

    def _stream(self) -> None:
        crash = None if self._own_server_pid is None else Crash(self._own_server_pid)
        streamed = reviews()
        ends = "; in the middle, the model's process is killed" if crash else ""
        self._screen.chapter(f"{len(streamed)} reviews by one stream", f"no two alike{ends}")
        stream = ReviewStream(self._labels, streamed, crash)
        with self._screen.live(lambda: stream.lines(self._screen.width)):
            stream.run(self._client, self._model, self._connection.item_timeout_s)
        self._screen.lines([Text()])
        for sentence, style in stream.findings():
            self._screen.note(sentence, style)


def label_lines(labels: Sequence[str], result: Classification, width: int) -> Iterator[Text]:
    """Yield a line for each label: its name, logit, score and a bar. Below: how many are left out.

    A negative score, which identity alone has, has a hollow bar.
    """
    scores = {each.label_id: each.score for each in result.scores}
    best = result.scores[0]
    shown = sorted(each.label_id for each in result.scores[:MOST_LABELS])
    longest = min(_LONGEST_LABEL, max(width // 3, 8))
    names = {id_: fitted(labels[id_], longest) for id_ in shown}
    name_width = max(cell_len("label"), *map(cell_len, names.values()))
    numbers = {id_: (f"{result.logits[id_]:+.4f}", f"{scores[id_]:.6f}") for id_ in shown}
    heads = ("logit", result.activation)
    logit_width, score_width = (
        max(len(heads[at]), *(len(each[at]) for each in numbers.values())) for at in (0, 1)
    )
    yield Text(
        f"{'label':{name_width}}  {heads[0]:>{logit_width}}  {heads[1]:>{score_width}}", "dim"
    )
    room = max(width - name_width - logit_width - score_width - 6, 1)
    full = max(abs(score) for score in scores.values()) if result.activation == "identity" else 1.0
    for id_ in shown:
        logit, score = numbers[id_]
        is_best = id_ == best.label_id
        line = Text.assemble(
            (set_cell_size(names[id_], name_width), "bold" if is_best else ""),
            f"  {logit:>{logit_width}}  {score:>{score_width}}  ",
            (bar(scores[id_] / (full or 1.0), room), "bold green" if is_best else "cyan"),
        )
        line.rstrip()
        yield line
    if len(shown) < len(scores):
        yield Text(f"({len(scores) - len(shown)} more labels are lower)", "dim")


def verdict(outcome: Outcome, label_width: int = 0) -> str:
    """Return the best label, as wide as asked for, with its score; or the reason of an error."""
    if isinstance(outcome, ClasswireError):
        return outcome.reason or outcome.code.name
    label = fitted(outcome.label or "", _LONGEST_LABEL)
    return f"{set_cell_size(label, max(label_width, cell_len(label)))}  {outcome.score:.4f}"

"""A batch that was computed: one span for each forward pass, which all calls in it lead to."""

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

from opentelemetry.trace import Link, Span

from ..computation import Pass
from ..errors import WorkerLost
from .trace import Trace

if TYPE_CHECKING:
    from ..pending import Batch, Pending


def trace_batch(batch: "Batch", passes: Sequence[Pass], taken_s: float, ended_s: float) -> None:
    """Tell how long the traced texts of a batch waited, and what became of them.

    The batch was taken, and ended, at these instants of the monotonic clock. A pass is a span of
    the first call in it that is traced, with links to all; the wait of each is linked to the pass.
    """
    rows = iter(batch.rows)
    for done in passes:
        of_pass: dict[Trace, list[Pending]] = {}
        for row in islice(rows, done.texts):
            for text in row:
                if text.trace is not None:
                    of_pass.setdefault(text.trace, []).append(text)
        if of_pass:
            _trace_pass(of_pass, done, taken_s, ended_s)


def _trace_pass(
    of_pass: "dict[Trace, list[Pending]]", done: Pass, taken_s: float, ended_s: float
) -> None:
    attributes: dict[str, str | int] = {
        "classwire.batch.texts": done.texts,
        "classwire.batch.tokens": done.tokens,
    }
    began_s, failure, lost = taken_s, "", False
    if isinstance(done.logits, Exception):
        lost = isinstance(done.logits, WorkerLost)
        failure = "WORKER_LOST" if lost else type(done.logits).__name__
    else:
        traits = done.logits.traits
        attributes |= {
            "classwire.device": traits.device,
            "classwire.precision": traits.precision.value,
            "classwire.engine": f"{traits.execution.value}, {traits.layout.value}",
        }
        began_s = done.logits.began_s
    first = next(iter(of_pass))
    links = [trace.link for trace in of_pass]
    infer = first.child("infer", began_s, ended_s, {**first.model, **attributes}, links, failure)
    for trace, texts in of_pass.items():
        _trace_wait(trace, texts, began_s, infer)
        if lost:
            trace.lost_s = ended_s


def _trace_wait(trace: Trace, texts: "Sequence[Pending]", until_s: float, infer: Span) -> None:
    """The wait of a call's texts; those that joined a pass that ran did not wait."""
    since_s = min(text.queued_s for text in texts)
    if any(text.deaths for text in texts):
        since_s = max(since_s, trace.lost_s)
    trace.child(
        "queue",
        since_s,
        until_s,
        {"classwire.texts": len(texts)},
        [Link(infer.get_span_context())],
    )

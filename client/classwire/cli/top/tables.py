"""The tables of `classwire top`: the rows of each, and how figures are written."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text

from classwire.escaping import visible

from .metrics import Labels, Window

MOST_ERRORS = 8
DIM, BAD = "dim", "bold red"
UNKNOWN = "–"

_CALLS = "classwire_calls_total"
_ENDED_BY_CALLER = ("OK", "CANCELLED", "DEADLINE_EXCEEDED")


@dataclass(frozen=True)
class Row:
    """A name, and the other cells. Where not all rows have room, the largest `weight` stays."""

    name: str
    cells: tuple[str | Text, ...]
    weight: tuple[float, ...] = ()


@dataclass(frozen=True)
class Section:
    """A table: its title, the columns after it, its rows, and how many lines it gets before others
    get all they want.
    """

    title: str
    columns: Sequence[str]
    rows: Callable[[Window], Iterator[Row]]
    few: int = 0


def _models(window: Window) -> Iterator[Row]:
    now = window.now
    for model in now.label("classwire_model_state", "model"):
        states = [
            labels["state"] for labels, on in now.of("classwire_model_state", model=model) if on
        ]
        state = states[0] if states else UNKNOWN
        up = [value for _, value in now.of("classwire_worker_up", model=model)]
        lost = now.sum("classwire_worker_restarts_total", model=model)
        memory = now.sum("classwire_worker_resident_memory_bytes", model=model)
        tokens = window.rate("classwire_text_tokens_total", model=model)
        is_well = state == "ready" and sum(up) == len(up)
        yield Row(
            model,
            (
                Text(state, "green" if state == "ready" else BAD),
                rate(window.rate("classwire_texts_total", model=model)),
                rate(tokens),
                Text(f"{sum(up):.0f} of {len(up)}", BAD if sum(up) < len(up) else ""),
                f"{lost:.0f}",
                size(memory) if memory else UNKNOWN,
                share(window.rate("classwire_worker_cpu_seconds_total", model=model)),
            ),
            (not is_well, tokens or 0.0),
        )


def _queues(window: Window) -> Iterator[Row]:
    now = window.now
    for labels, tokens in now.of("classwire_queue_tokens"):
        model, priority = labels["model"], labels["priority"]
        its = {"model": model, "priority": priority}
        capacity = now.sum("classwire_queue_capacity_tokens", model=model)
        age_s = now.sum("classwire_queue_oldest_age_seconds", **its)
        yield Row(
            model,
            (
                priority,
                f"{now.sum('classwire_queue_texts', **its):,.0f}",
                f"{tokens:,.0f}",
                share(tokens / capacity if capacity else None),
                duration(age_s) if age_s else UNKNOWN,
                *_quantiles(window, "classwire_queue_seconds", **its),
            ),
            (tokens, window.rate("classwire_queue_seconds_count", **its) or 0.0),
        )


def _errors(window: Window) -> Iterator[Row]:
    rows: list[tuple[float, float, str, str]] = []
    for name, subject in ((_CALLS, "method"), ("classwire_text_failures_total", "model")):
        for labels, total in window.now.of(name):
            if total and (subject == "model" or _is_error(labels)):
                what = labels["reason"] or labels.get("code", "")
                whose = labels[subject].split("/")[-1] if subject == "method" else labels[subject]
                grown = window.rate(name, **labels) or 0.0
                kind = "calls" if subject == "method" else "texts"
                rows.append((-grown, -total, what, f"{kind}, {whose}"))
    for grown, total, what, whose in sorted(rows)[:MOST_ERRORS]:
        style = BAD if grown else DIM
        cells = (visible(whose), rate(-grown if window.seconds else None), f"{-total:,.0f}")
        yield Row(what, tuple(Text(cell, style) for cell in cells))


def _calls(window: Window) -> Iterator[Row]:
    """Yield the methods, the busiest first."""
    now = window.now
    rates = {
        method: (window.rate(_CALLS, method=method) or 0.0, now.sum(_CALLS, method=method))
        for method in now.label(_CALLS, "method")
    }
    for method in sorted(rates, key=rates.__getitem__, reverse=True):
        failed = [
            window.rate(_CALLS, **labels) or 0.0
            for labels, _ in now.of(_CALLS, method=method)
            if _is_error(labels)
        ]
        yield Row(
            method.split("/")[-1],
            (
                rate(window.rate(_CALLS, method=method)),
                *_quantiles(window, "classwire_call_duration_seconds", method=method),
                Text(rate(sum(failed) if window.seconds else None), BAD if any(failed) else ""),
            ),
        )


def _batches(window: Window) -> Iterator[Row]:
    now = window.now
    for labels, lanes in now.of("classwire_lanes"):
        its = {"model": labels["model"]}
        passes = window.rate("classwire_batch_texts_count", **its)
        texts = window.mean("classwire_batch_texts", **its)
        tokens = window.mean("classwire_batch_tokens", **its)
        yield Row(
            labels["model"],
            (
                rate(passes),
                UNKNOWN if texts is None else f"{texts:,.1f}",
                UNKNOWN if tokens is None else f"{tokens:,.0f}",
                share(window.mean("classwire_batch_fill_ratio", **its)),
                *_quantiles(window, "classwire_inference_seconds", **its),
                f"{now.sum('classwire_lanes_busy', **its):.0f} of {lanes:.0f}",
            ),
            (passes or 0.0,),
        )


SECTIONS = (
    Section(
        "models", ("state", "texts/s", "tokens/s", "workers", "lost", "memory", "CPU"), _models, 6
    ),
    Section("queue", ("class", "texts", "tokens", "full", "oldest", "p50", "p99"), _queues, 4),
    Section("errors", ("of", "per s", "in all"), _errors, 4),
    Section("calls", ("calls/s", "p50", "p99", "errors/s"), _calls, 4),
    Section("batches", ("passes/s", "texts", "tokens", "fill", "p50", "p99", "lanes"), _batches),
)
"""All tables, the most important first."""


def _is_error(labels: Labels) -> bool:
    """Whether calls with these labels failed. A health watch lasts until its caller ends it."""
    if labels["method"].endswith("/Watch"):
        return labels["code"] not in _ENDED_BY_CALLER
    return labels["code"] != "OK"


def _quantiles(window: Window, name: str, **labels: str) -> tuple[str, str]:
    half, most = (window.quantile(each, name, **labels) for each in (0.5, 0.99))
    return duration(half), duration(most)


def rate(per_s: float | None) -> str:
    """Return a number per second."""
    if per_s is None:
        return UNKNOWN
    return f"{per_s:,.1f}" if per_s < 1_000 else f"{per_s:,.0f}"


def duration(seconds: float | None) -> str:
    """Return a time in the unit that suits it."""
    if seconds is None:
        return UNKNOWN
    if seconds < 0.1:
        return f"{1e3 * seconds:.1f} ms"
    return f"{1e3 * seconds:.0f} ms" if seconds < 1 else f"{seconds:,.1f} s"


def share(part: float | None) -> str:
    """Return a share of 1 in percent."""
    return UNKNOWN if part is None else f"{part:.0%}".replace("%", " %")


def size(n_bytes: float) -> str:
    """Return a number of bytes in the unit that suits it."""
    return f"{n_bytes / 1e6:,.0f} MB" if n_bytes < 1e9 else f"{n_bytes / 1e9:,.1f} GB"

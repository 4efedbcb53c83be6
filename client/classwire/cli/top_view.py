"""The view of `classwire top`, from a server's metrics."""

import time
from collections.abc import Callable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from classwire.escaping import visible

from .rendering import fitted
from .top_metrics import Window

MOST_ERRORS = 8
_WIDE = 104
"""Width of a terminal from which on the columns are wider."""
_DIM, _BAD = "dim", "bold red"
_UNKNOWN = "–"

Row = tuple[str, *tuple[str | Text, ...]]
"""A row's name and its other cells."""


def view(window: Window, target: str, width: int, missing: str = "") -> RenderableType:
    """The whole view, `width` columns wide; `missing` says why it is not up to date."""
    parts: list[RenderableType] = [_head(window, target), _port(window), _streams(window)]
    if missing:
        parts.append(Text(missing, _BAD))
    for title, columns, rows in _TABLES:
        table = _table(title, columns, wide=width >= _WIDE)
        for name, *cells in rows(window):
            table.add_row(fitted(str(name), table.columns[0].width or 0), *cells)
        if table.row_count:
            parts += [Text(), table]
    return Group(*parts)


def _head(window: Window, target: str) -> Text:
    now = window.now
    [version] = now.label("classwire_build_info", "version")[:1]
    at_s = time.time() - (time.monotonic() - now.at_s)
    started_s = now.sum("process_start_time_seconds")
    line = Text.assemble((f"classwire {visible(version)}", "bold"), f"  {visible(target)}")
    if started_s:
        line.append(f"  up {_age(at_s - started_s)}")
    if now.sum("classwire_draining"):
        line.append("  draining", _BAD)
    what = f"over {window.seconds:.1f} s" if window.seconds else "rates with the next view"
    line.append(f"  {time.strftime('%H:%M:%S', time.localtime(at_s))}, {what}", _DIM)
    return line


def _port(window: Window) -> Text:
    now = window.now
    busy, threads = now.sum("classwire_rpc_threads_busy"), now.sum("classwire_rpc_threads")
    waiting = now.sum("classwire_rpc_waiting_calls")
    line = Text(f"threads {busy:.0f} of {threads:.0f}, ")
    line.append(f"{waiting:.0f} calls queued", _BAD if waiting else "")
    if memory := now.sum("process_resident_memory_bytes"):
        line.append(f"  {_bytes(memory)}, CPU {_share(window.rate('process_cpu_seconds_total'))}")
    return line


def _streams(window: Window) -> Text:
    opened, limit = map(window.now.sum, ("classwire_streams_open", "classwire_streams_limit"))
    read, sent = (
        _rate(window.rate("classwire_stream_items_total", direction=direction))
        for direction in ("read", "sent")
    )
    return Text(f"streams {opened:.0f} of {limit:.0f}, {read} texts/s read, {sent} sent")


def _calls(window: Window) -> Iterator[Row]:
    total, seconds = "classwire_calls_total", "classwire_call_duration_seconds"
    methods = window.now.label(total, "method")
    rates = {method: window.rate(total, method=method) for method in methods}
    for method in sorted(methods, key=lambda method: -(rates[method] or 0)):
        fine = window.rate(total, method=method, code="OK")
        rate = rates[method]
        failed = None if rate is None or fine is None else max(0.0, rate - fine)
        yield (
            method.split("/")[-1],
            _rate(rate),
            *_quantiles(window, seconds, method=method),
            Text(_rate(failed), _BAD if failed else ""),
        )


def _models(window: Window) -> Iterator[Row]:
    now = window.now
    for model in now.label("classwire_model_state", "model"):
        states = [
            labels["state"] for labels, on in now.of("classwire_model_state", model=model) if on
        ]
        state = states[0] if states else _UNKNOWN
        up = [value for _, value in now.of("classwire_worker_up", model=model)]
        lost = now.sum("classwire_worker_restarts_total", model=model)
        memory = now.sum("classwire_worker_resident_memory_bytes", model=model)
        yield (
            model,
            Text(state, "green" if state == "ready" else _BAD),
            _rate(window.rate("classwire_texts_total", model=model)),
            _rate(window.rate("classwire_text_tokens_total", model=model)),
            Text(f"{sum(up):.0f} of {len(up)}", _BAD if sum(up) < len(up) else ""),
            f"{lost:.0f}",
            _bytes(memory) if memory else _UNKNOWN,
            _share(window.rate("classwire_worker_cpu_seconds_total", model=model)),
        )


def _queues(window: Window) -> Iterator[Row]:
    now = window.now
    for labels, tokens in now.of("classwire_queue_tokens"):
        model, priority = labels["model"], labels["priority"]
        its = {"model": model, "priority": priority}
        capacity = now.sum("classwire_queue_capacity_tokens", model=model)
        age_s = now.sum("classwire_queue_oldest_age_seconds", **its)
        yield (
            model,
            priority,
            f"{now.sum('classwire_queue_texts', **its):,.0f}",
            f"{tokens:,.0f}",
            _share(tokens / capacity if capacity else None),
            _seconds(age_s) if age_s else _UNKNOWN,
            *_quantiles(window, "classwire_queue_seconds", **its),
        )


def _batches(window: Window) -> Iterator[Row]:
    now = window.now
    for labels, lanes in now.of("classwire_lanes"):
        its = {"model": labels["model"]}
        texts = window.mean("classwire_batch_texts", **its)
        tokens = window.mean("classwire_batch_tokens", **its)
        yield (
            labels["model"],
            _rate(window.rate("classwire_batch_texts_count", **its)),
            _UNKNOWN if texts is None else f"{texts:,.1f}",
            _UNKNOWN if tokens is None else f"{tokens:,.0f}",
            _share(window.mean("classwire_batch_fill_ratio", **its)),
            *_quantiles(window, "classwire_inference_seconds", **its),
            f"{now.sum('classwire_lanes_busy', **its):.0f} of {lanes:.0f}",
        )


def _errors(window: Window) -> Iterator[Row]:
    rows: list[tuple[float, float, str, str]] = []
    for name, subject in (
        ("classwire_calls_total", "method"),
        ("classwire_text_failures_total", "model"),
    ):
        for labels, total in window.now.of(name):
            if total and labels.get("code") != "OK":
                what = labels["reason"] or labels.get("code", "")
                whose = labels[subject].split("/")[-1] if subject == "method" else labels[subject]
                rate = window.rate(name, **labels) or 0.0
                kind = "calls" if subject == "method" else "texts"
                rows.append((-rate, -total, what, f"{kind}, {whose}"))
    for rate, total, what, whose in sorted(rows)[:MOST_ERRORS]:
        known = -rate if window.seconds else None
        style = _BAD if rate else _DIM
        cells = (visible(whose), _rate(known), f"{-total:,.0f}")
        yield (what, *(Text(cell, style) for cell in cells))


_TABLES: tuple[tuple[str, Sequence[str], Callable[[Window], Iterator[Row]]], ...] = (
    ("calls", ("calls/s", "p50", "p99", "errors/s"), _calls),
    (
        "models",
        ("state", "texts/s", "tokens/s", "workers", "lost", "memory", "CPU"),
        _models,
    ),
    ("queue", ("class", "texts", "tokens", "full", "oldest", "p50", "p99"), _queues),
    ("batches", ("passes/s", "texts", "tokens", "fill", "p50", "p99", "lanes"), _batches),
    ("errors", ("of", "per s", "in all"), _errors),
)


def _table(title: str, columns: Sequence[str], *, wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column(Text(title, "bold"), width=24 if wide else 13, no_wrap=True)
    for column in columns:
        left = column in ("state", "class", "of")
        table.add_column(
            column,
            justify="left" if left else "right",
            min_width=9 if wide else 7,  # so that columns do not move when figures change
            no_wrap=True,
        )
    return table


def _quantiles(window: Window, name: str, **labels: str) -> tuple[str, str]:
    half, most = (window.quantile(share, name, **labels) for share in (0.5, 0.99))
    return _seconds(half), _seconds(most)


def _rate(rate: float | None) -> str:
    if rate is None:
        return _UNKNOWN
    return f"{rate:,.1f}" if rate < 1_000 else f"{rate:,.0f}"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return _UNKNOWN
    if seconds < 0.1:
        return f"{1e3 * seconds:.1f} ms"
    return f"{1e3 * seconds:.0f} ms" if seconds < 1 else f"{seconds:,.1f} s"


def _share(share: float | None) -> str:
    return _UNKNOWN if share is None else f"{share:.0%}".replace("%", " %")


def _bytes(size: float) -> str:
    return f"{size / 1e6:,.0f} MB" if size < 1e9 else f"{size / 1e9:,.1f} GB"


def _age(seconds: float) -> str:
    minutes, hours, days = seconds / 60, seconds / 3_600, seconds / 86_400
    if days >= 2:
        return f"{days:.0f} days"
    if hours >= 2:
        return f"{hours:.0f} h"
    return f"{minutes:.0f} min" if minutes >= 2 else f"{seconds:.0f} s"

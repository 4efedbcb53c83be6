"""The view of `classwire top`: the server in three lines, then tables, as high as the screen."""

import math
import time
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from classwire.cli.rendering import fitted
from classwire.escaping import visible

from .metrics import Window
from .tables import BAD, DIM, SECTIONS, Row, Section, rate, share, size

_WIDE = 104
"""Width of a terminal from which on the columns are wider."""
_FEW_COLUMNS = 4
"""Tables with no more columns have room for a wider name."""


def view(
    window: Window, target: str, width: int, height: float = math.inf, missing: str = ""
) -> RenderableType:
    """The whole view, `width` columns wide and at most `height` lines high.

    The last tables lose their rows first. `missing` says why the view is not up to date.
    """
    head = [_head(window, target), _port(window), _streams(window)]
    if missing:
        head.append(Text(missing, BAD, no_wrap=True, overflow="ellipsis"))
    found = [(section, rows) for section in SECTIONS if (rows := [*section.rows(window)])]
    wanted = [(len(rows), section.few) for section, rows in found]
    lines = _shares(wanted, height - len(head))
    tables = [
        _table(section, _fitted(rows, count), len(rows), wide=width >= _WIDE)
        for (section, rows), count in zip(found, lines, strict=True)
        if count
    ]
    spare = height - len(head) - sum(1 + table.row_count for table in tables)
    parts: list[RenderableType] = [*head]
    for table in tables:
        parts += [Text(), table] if spare >= len(tables) else [table]
    return Group(*parts)


def _shares(wanted: Sequence[tuple[int, int]], room: float) -> list[int]:
    """Share `room` lines among tables; return the lines of each below its heading.

    A table wants a line for each of its rows, and gets a few of them before any gets more. It may
    need one to say how many rows are missing, so one with several rows gets two lines or none.
    """
    lines = [0] * len(wanted)
    for is_first in (True, False):
        for index, (rows, few) in enumerate(wanted):
            headings = 0 if lines[index] else 1
            most = min(rows, few if is_first else rows, lines[index] + room - headings)
            if most > lines[index] and most >= min(rows, 2):
                room -= most - lines[index] + headings
                lines[index] = int(most)
    return lines


def _fitted(rows: Sequence[Row], lines: int) -> Sequence[Row]:
    """Return the rows with the most weight that fit, in their order."""
    if len(rows) <= lines:
        return rows
    by_weight = sorted(range(len(rows)), key=lambda index: rows[index].weight, reverse=True)
    return [rows[index] for index in sorted(by_weight[: lines - 1])]


def _table(section: Section, rows: Sequence[Row], total: int, *, wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    name_width = 24 if wide or len(section.columns) <= _FEW_COLUMNS else 16
    table.add_column(Text(section.title, "bold"), width=name_width, no_wrap=True)
    for column in section.columns:
        left = column in ("state", "class", "of")
        table.add_column(
            column,
            justify="left" if left else "right",
            min_width=9 if wide else 6,  # so that columns do not move when figures change
            no_wrap=True,
        )
    for row in rows:
        table.add_row(fitted(row.name, name_width), *row.cells)
    if len(rows) < total:
        table.add_row(Text(f"{total - len(rows)} more", DIM))
    return table


def _line(*parts: tuple[str, str]) -> Text:
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _head(window: Window, target: str) -> Text:
    now = window.now
    [version] = now.label("classwire_build_info", "version")[:1]
    at_s = time.time() - (time.monotonic() - now.at_s)
    started_s = now.sum("process_start_time_seconds")
    line = _line((f"classwire {visible(version)}", "bold"), (f"  {visible(target)}", ""))
    if started_s:
        line.append(f"  up {_age(at_s - started_s)}")
    if now.sum("classwire_draining"):
        line.append("  draining", BAD)
    what = f"over {window.seconds:.1f} s" if window.seconds else "rates with the next view"
    line.append(f"  {time.strftime('%H:%M:%S', time.localtime(at_s))}, {what}", DIM)
    return line


def _port(window: Window) -> Text:
    now = window.now
    busy, threads = now.sum("classwire_rpc_threads_busy"), now.sum("classwire_rpc_threads")
    waiting = now.sum("classwire_rpc_waiting_calls")
    line = _line((f"threads {busy:.0f} of {threads:.0f}, ", ""))
    line.append(f"{waiting:.0f} calls queued", BAD if waiting else "")
    if memory := now.sum("process_resident_memory_bytes"):
        line.append(f"  {size(memory)}, CPU {share(window.rate('process_cpu_seconds_total'))}")
    return line


def _streams(window: Window) -> Text:
    opened, limit = map(window.now.sum, ("classwire_streams_open", "classwire_streams_limit"))
    read, sent = (
        rate(window.rate("classwire_stream_items_total", direction=direction))
        for direction in ("read", "sent")
    )
    return _line((f"streams {opened:.0f} of {limit:.0f}, {read} texts/s read, {sent} sent", ""))


def _age(seconds: float) -> str:
    minutes, hours, days = seconds / 60, seconds / 3_600, seconds / 86_400
    if days >= 2:
        return f"{days:.0f} days"
    if hours >= 2:
        return f"{hours:.0f} h"
    return f"{minutes:.0f} min" if minutes >= 2 else f"{seconds:.0f} s"

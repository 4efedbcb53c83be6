"""The chart of the overload trials."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Page

from benchmarks.charts import FOLDER, OURS

__all__ = ["FOLDER", "TITLE", "draw"]

TITLE = "Calls answered in time, and how late, against the load"
STYLES = ("-o", "--s")

Level = Mapping[str, float]
"""The fields of a level of the overload trial."""


def draw(records: Mapping[str, Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw the chart, if there are levels, as a reproducible SVG file."""
    levels: dict[str, list[Level]] = {}  # by the name of the checkpoint
    for record in records.values():
        levels.update(record["series"].get("levels", {}))
    if not levels:
        return []
    matplotlib.rcParams["svg.hashsalt"] = "classwire"
    page = Page(figsize=(8, 4), layout="constrained")
    page.suptitle(TITLE)
    _plot(page.add_subplot(1, 2, 1), levels, "answers in time, of capacity", _goodput)
    _plot(page.add_subplot(1, 2, 2), levels, "p99 of answers, s", _p99_s)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "overload.svg"
    page.savefig(path, metadata={"Date": None})
    return [path]


def _plot(
    axes: Axes, levels: Mapping[str, list[Level]], name: str, height: Callable[[Level], float]
) -> None:
    for style, (checkpoint, found) in zip(STYLES, levels.items(), strict=False):
        loads = [level["offered_per_s"] / level["capacity_per_s"] for level in found]
        axes.plot(loads, [height(level) for level in found], style, color=OURS, label=checkpoint)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("calls offered, of capacity")
    axes.set_ylabel(name)
    axes.set_ylim(bottom=0)
    axes.legend()


def _goodput(level: Level) -> float:
    return level["answers_per_s"] / level["capacity_per_s"]


def _p99_s(level: Level) -> float:
    return level["p99_s"]

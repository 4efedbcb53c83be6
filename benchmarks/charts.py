"""Draw the documentation's charts from a result.

python -m benchmarks.charts RESULT.json [--folder docs/project/charts]
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Page

from .figures import figure
from .measures import Result, rates, serving
from .peers.charts import rates_by_engine

FOLDER = Path(__file__).parents[1] / "docs" / "project" / "charts"
OURS, OTHERS = "#1f6f8b", "#b8b8b8"


def throughput(result: Result, axes: Axes) -> None:
    """Draw tokens per second of each engine alone, with the spread of the rounds."""
    names = sorted(
        result["engines"]["engines"], key=lambda name: figure(rates(result, name)).median
    )
    figures = [figure(rates(result, name)) for name in names]
    medians = [value.median for value in figures]
    spread = [
        [value.median - value.least for value in figures],
        [value.most - value.median for value in figures],
    ]
    colours = [OURS if name.startswith("packed") else OTHERS for name in names]
    axes.barh(names, medians, color=colours, xerr=spread, ecolor="#444444")
    axes.bar_label(axes.barh(names, medians, alpha=0), fmt="{:,.0f}", padding=12)
    axes.set_xlabel(f"tokens/s, one thread; {result['engines']['shape']}, mixed lengths")
    axes.set_xlim(0, 1.2 * max(medians))


def latency(result: Result, axes: Axes) -> None:
    """Draw latency against throughput of unary calls, by number in flight.

    Raises LookupError if the result has no such calls.
    """
    record = serving(result, result["engines"]["shape"], pinned=True)
    entries = sorted(
        (entry for entry in record["calls"] if entry["shape"] == "unary"),
        key=lambda entry: int(entry["in_flight"]),
    )
    if len(entries) < 2:
        raise LookupError("unary calls with several numbers in flight")
    x = [figure([taken["texts_per_s"] for taken in e["rounds"]]).median for e in entries]
    for field, name, style in (
        ("p50_s", "p50", "-"),
        ("p95_s", "p95", "--"),
        ("p99_s", "p99", ":"),
    ):
        y = [figure([1e3 * taken[field] for taken in e["rounds"]]).median for e in entries]
        axes.plot(x, y, style, color=OURS, marker="o", label=name)
    for entry, place in zip(entries, x, strict=True):
        top = figure([1e3 * taken["p99_s"] for taken in entry["rounds"]]).median
        axes.annotate(
            str(entry["in_flight"]), (place, top), textcoords="offset points", xytext=(0, 6)
        )
    axes.set_yscale("log")
    axes.set_xlabel(f"texts/s; {record['checkpoint']}, {record['precision']}, mixed lengths")
    axes.set_ylabel("latency, ms; labels: calls in flight")
    axes.legend()


CHARTS: dict[str, tuple[str, Callable[[Result, Axes], None]]] = {
    "throughput": ("Throughput by engine", throughput),
    "latency": ("Latency against load", latency),
    "peers": ("Tokens/s by engine and precision", rates_by_engine),
}


def draw(result: Result, folder: Path) -> list[Path]:
    """Draw every chart for which the result has figures, as reproducible SVG files."""
    matplotlib.rcParams["svg.hashsalt"] = "classwire"
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, (title, chart) in CHARTS.items():
        page = Page(figsize=(8, 4), layout="constrained")
        axes = page.add_subplot(title=title)
        axes.spines[["top", "right"]].set_visible(False)
        try:
            chart(result, axes)
        except LookupError:
            continue
        drawn.append(folder / f"{name}.svg")
        page.savefig(drawn[-1], metadata={"Date": None})
    return drawn


def main() -> None:
    """Draw the charts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("result", type=Path)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    for path in draw(json.loads(arguments.result.read_text(encoding="utf-8")), arguments.folder):
        print(path)


if __name__ == "__main__":
    main()

"""The chart of a comparison."""

from matplotlib.axes import Axes

from benchmarks.figures import figure

from .figures import OTHERS, OURS, Result, rates

COLOURS = dict(zip((OURS, *OTHERS), ("#1f6f8b", "#b8b8b8", "#909090", "#686868"), strict=True))
BAR = 0.2


def rates_by_engine(result: Result, axes: Axes) -> None:
    """Draw tokens per second on all measured cores, with the spread of the rounds.

    Raises LookupError if the result has no comparison.
    """
    precisions = {name: found for name, found in result["peers"]["precisions"].items() if found}
    cores = max(
        int(n) for found in precisions.values() for of in found.values() for n in of["cores"]
    )
    for place, (name, colour) in enumerate(COLOURS.items()):
        found = {
            group: figure(rates(result, name, precision, cores))
            for group, precision in enumerate(precisions)
            if name in precisions[precision]
        }
        if not found:
            continue
        bars = axes.bar(
            [group + (place - 1.5) * BAR for group in found],
            [value.median for value in found.values()],
            BAR,
            color=colour,
            label=name,
            yerr=[
                [value.median - value.least for value in found.values()],
                [value.most - value.median for value in found.values()],
            ],
            ecolor="#444444",
        )
        axes.bar_label(bars, fmt="{:,.0f}", padding=2, fontsize=8)
    axes.set_xticks(range(len(precisions)), list(precisions))
    axes.set_ylabel(f"tokens/s, cores: {cores}; {result['peers']['checkpoint']}, mixed lengths")
    axes.margins(y=0.15)
    axes.legend()

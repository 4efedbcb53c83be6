"""Write docs/reference/metrics.md from the code that defines the metrics."""

from collections.abc import Iterator
from pathlib import Path

from classwire_server.metrics.metric import Metric
from classwire_server.metrics.table import GROUPS

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "metrics.md"
HEAD = """# Metrics

`classwire serve --metrics-port 9464` serves them to Prometheus at `/metrics`;
[metrics and dashboard](../operate/metrics.md) says which to look at first. Written by
`python -m scripts.metrics_page`.

Of a histogram `NAME` there are `NAME_bucket`, `NAME_sum` and `NAME_count`. `model` is the name that
a model is served under, `method` a method as `package.Service/Method`, `code` a status code as
`RESOURCE_EXHAUSTED`, `reason` one of the [contract's](errors.md), `priority` is `interactive` or
`bulk`, `worker` a number from 0 on, one for each device. No label takes a value that a caller makes
up.
"""


def page() -> str:
    """The page as it should be."""
    return HEAD + "".join(_group(title, metrics) for title, metrics in GROUPS.items())


def _group(title: str, metrics: tuple[Metric, ...]) -> str:
    head = f"\n## {title}\n\n| metric | type | labels | what it says |\n|---|---|---|---|\n"
    return head + "".join(map(_row, metrics)) + "".join(_bounds(metrics))


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |\n"


def _bounds(metrics: tuple[Metric, ...]) -> Iterator[str]:
    """The bounds of histograms, those with the same ones together."""
    histograms = [metric for metric in metrics if metric.kind == "histogram"]
    for bounds in dict.fromkeys(metric.bounds for metric in histograms):
        names = ", ".join(f"`{metric.name}`" for metric in histograms if metric.bounds == bounds)
        yield f"\nBuckets of {names}: {', '.join(f'{bound:g}' for bound in bounds)}.\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

"""Writes docs/reference/metrics.md from the definitions of the metrics."""

from collections.abc import Iterator
from pathlib import Path

from classwire_server.observability.metrics.definitions import GROUPS
from classwire_server.observability.metrics.model_definitions import Metric

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "metrics.md"
HEAD = """# Metrics

```
classwire serve --metrics-port 9464
curl http://127.0.0.1:9464/metrics
```

[Metrics and dashboard](../operate/metrics.md) shows which metrics to look at first. `python -m
scripts.metrics_page` writes this page.

A histogram `NAME` has the series `NAME_bucket`, `NAME_sum` and `NAME_count`. Callers cannot choose
label values:

| label | value |
|---|---|
| `model` | the name of a model |
| `method` | `package.Service/Method` |
| `code` | a status code, such as `RESOURCE_EXHAUSTED` |
| `reason` | [an error's reason](errors.md) |
| `priority` | `interactive`, `large` (interactive calls of more than one full batch) or `bulk` |
| `label` | a label of the checkpoint, or `(other)` for those after the first 100 |
| `shadow` | the name of the model that shadows `model` |
| `comparison` | `agreed`, `differed`, `shed` or `failed` |
| `worker` | the number of the worker process, from 0; one worker for each device |
"""


def page() -> str:
    """Return the up-to-date page."""
    return HEAD + "".join(_group(title, metrics) for title, metrics in GROUPS.items())


def _group(title: str, metrics: tuple[Metric, ...]) -> str:
    head = f"\n## {title}\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n"
    return head + "".join(map(_row, metrics)) + "".join(_bounds(metrics))


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |\n"


def _bounds(metrics: tuple[Metric, ...]) -> Iterator[str]:
    """Yield the bounds of histograms, one line for those that share them."""
    histograms = [metric for metric in metrics if metric.kind == "histogram"]
    for bounds in dict.fromkeys(metric.bounds for metric in histograms):
        names = ", ".join(f"`{metric.name}`" for metric in histograms if metric.bounds == bounds)
        yield f"\nBuckets of {names}: {', '.join(f'{bound:g}' for bound in bounds)}.\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

"""Every metric is documented as the code defines it, and there are no others."""

from classwire_server.observability.metrics.definitions import METRICS
from classwire_server.server import Server
from scripts.metrics_page import PAGE, page
from tests.observability.metrics.scrape import Scrape


def test_page_is_up_to_date() -> None:
    """docs/reference/metrics.md is what the table of metrics says."""
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m scripts.metrics_page"


def test_what_is_served_is_what_is_documented(served: Server) -> None:
    """A metric that is served is in the table, one in the table is served, and of its type."""
    assert Scrape(served).families == {metric.name: metric.kind for metric in METRICS}


def test_names_follow_the_conventions() -> None:
    """Counters end in _total, and all else does not; times are seconds, sizes bytes."""
    for metric in METRICS:
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert not metric.name.endswith(("_ms", "_milliseconds", "_us", "_mb", "_kb"))
        assert metric.name.startswith(("classwire_", "process_"))
        assert metric.help.endswith(".")

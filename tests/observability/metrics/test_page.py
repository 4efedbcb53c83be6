"""The metrics page, the definitions and the served metrics agree."""

from classwire_server.observability.metrics.definitions import METRICS
from classwire_server.server import Server
from scripts.metrics_page import PAGE, page
from tests.observability.metrics.scrape import Scrape


def test_page_is_up_to_date() -> None:
    """docs/reference/metrics.md is generated from the current definitions."""
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m scripts.metrics_page"


def test_what_is_served_is_what_is_documented(served: Server) -> None:
    """The server serves exactly the defined metrics, each with its type."""
    assert Scrape(served).families == {metric.name: metric.kind for metric in METRICS}


def test_names_follow_the_conventions() -> None:
    """Only counters end in _total. Times are in seconds, sizes in bytes."""
    for metric in METRICS:
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert not metric.name.endswith(("_ms", "_milliseconds", "_us", "_mb", "_kb"))
        assert metric.name.startswith(("classwire_", "process_"))
        assert metric.help.endswith(".")

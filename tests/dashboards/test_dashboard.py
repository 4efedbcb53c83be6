"""The dashboard: written from its rows, laid out, and with words for all that it shows."""

import re

from scripts.dashboard.__main__ import dashboard as written
from tests.dashboards.series import ADDED, LABELS, series
from tests.dashboards.shipped import DASHBOARD, dashboard, panels


def test_dashboard_is_up_to_date() -> None:
    """deploy/grafana/classwire.json is what its rows say."""
    message = "run: python -m scripts.dashboard"
    assert DASHBOARD.read_text(encoding="utf-8") == written(), message


def test_panels_explain_themselves() -> None:
    """Each has a title of its own, a description, a unit, and a name for each of its lines."""
    titles = [panel["title"] for panel in panels()]
    assert len(titles) == len(set(titles))
    for panel in panels():
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]
        assert all(target["legendFormat"] for target in panel["targets"])


def test_legends_name_labels_that_the_query_gives() -> None:
    """What a legend takes from a series is there."""
    for panel in panels():
        for target in panel["targets"]:
            given = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", target["expr"]))))
            given |= {*ADDED}.union(*(LABELS.get(name, ()) for name in series(target["expr"])))
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= given | {
                "alertname"
            }


def test_panels_lie_side_by_side() -> None:
    """No two overlap, none leaves the page, and each has an id of its own."""
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        taken |= cells
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))

"""The dashboard is generated from its rows, laid out, and explains all that it shows."""

import re

from scripts.dashboard.__main__ import dashboard as written
from tests.dashboards.series import ADDED, LABELS, series
from tests.dashboards.shipped import DASHBOARD, dashboard, panels


def test_dashboard_is_up_to_date() -> None:
    """deploy/grafana/classwire.json is generated from the rows of scripts.dashboard."""
    message = "run: python -m scripts.dashboard"
    assert DASHBOARD.read_text(encoding="utf-8") == written(), message


def test_panels_explain_themselves() -> None:
    """Each panel has a title of its own, a description, a unit, and a legend for each query."""
    titles = [panel["title"] for panel in panels()]
    assert len(titles) == len(set(titles))
    for panel in panels():
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]
        assert all(target["legendFormat"] for target in panel["targets"])


def test_legends_name_labels_that_the_query_gives() -> None:
    """A legend uses only labels that the query's series have."""
    for panel in panels():
        for target in panel["targets"]:
            given = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", target["expr"]))))
            given |= {*ADDED}.union(*(LABELS.get(name, ()) for name in series(target["expr"])))
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= given | {
                "alertname"
            }


def test_panels_lie_side_by_side() -> None:
    """No two panels overlap, none exceeds the width, and each has an id of its own."""
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

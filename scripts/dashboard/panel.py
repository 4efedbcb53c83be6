"""Builds rows, panels and queries as Grafana's JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

SELECTORS = {
    "SERVER": 'job=~"$job", instance=~"$instance"',
    "MODEL": 'job=~"$job", instance=~"$instance", model=~"$model"',
    "WINDOW": "$__rate_interval",
}
"""Placeholders in queries, and their replacements in the JSON."""

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24


@dataclass(frozen=True)
class Query:
    """One query, with the legend of its series."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """One panel. A stat is red from the value `bad`."""

    title: str
    about: str
    unit: str
    queries: Sequence[Query]
    kind: str = "timeseries"
    stacked: bool = False
    bad: float | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Its width and height, in grid units."""
        return (3, 4) if self.kind == "stat" else (8, 8)

    def json(self, number: int, x: int, y: int) -> dict[str, Any]:
        """Return the panel as Grafana's JSON."""
        width, height = self.size
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.about,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": width, "h": height},
            "fieldConfig": {"defaults": self._defaults(), "overrides": []},
            "options": self._options(),
            "targets": list(self._targets()),
        }

    def _defaults(self) -> dict[str, Any]:
        defaults: dict[str, Any] = {"unit": self.unit, "noValue": "none"}
        if self.kind == "timeseries":
            defaults["min"] = 0
            defaults["custom"] = {
                "drawStyle": "line",
                "fillOpacity": 30 if self.stacked else 0,
                "showPoints": "never",
                "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
            }
        if self.bad is not None:
            steps = [{"color": "green", "value": None}, {"color": "red", "value": self.bad}]
            defaults["color"] = {"mode": "thresholds"}
            defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        return defaults

    def _options(self) -> dict[str, Any]:
        if self.kind == "timeseries":
            return {
                "legend": {
                    "showLegend": True,
                    "displayMode": "table",
                    "placement": "bottom",
                    "calcs": ["lastNotNull"],
                },
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
        if self.kind == "stat":
            return {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
        return {"showHeader": True}

    def _targets(self) -> Iterator[dict[str, Any]]:
        for number, query in enumerate(self.queries):
            target: dict[str, Any] = {
                "refId": chr(ord("A") + number),
                "datasource": DATASOURCE,
                "expr": filled_in(query.expr),
                "legendFormat": query.legend,
            }
            if self.kind == "table":
                target["format"] = "table"
                target["instant"] = True
            yield target


@dataclass(frozen=True)
class Row:
    """Panels under a title."""

    title: str
    panels: Sequence[Panel]


def filled_in(expr: str) -> str:
    """Return a query with its placeholders replaced."""
    for short, long in SELECTORS.items():
        expr = expr.replace(short, long)
    return expr


def laid_out(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yield all panels with their positions, left to right and top to bottom."""
    number = y = 0
    for row in rows:
        number += 1
        place = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": place,
            "panels": [],
        }
        y += 1
        x = height = 0
        for panel in row.panels:
            width, its_height = panel.size
            if x + width > COLUMNS or its_height != height:
                x, y, height = 0, y + height, its_height
            number += 1
            yield panel.json(number, x, y)
            x += width
        y += height

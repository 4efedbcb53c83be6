"""Writes the dashboard deploy/grafana/classwire.json from the definitions of its rows."""

import json
from pathlib import Path
from typing import Any

from .panel import DATASOURCE, laid_out
from .rows import ROWS

FILE = Path(__file__).parents[2] / "deploy" / "grafana" / "classwire.json"


def dashboard() -> str:
    """Return the up-to-date file."""
    return (
        json.dumps(
            {
                "uid": "classwire",
                "title": "Classwire",
                "description": "Health, latency and load of servers. See docs/operate/metrics.md.",
                "tags": ["classwire"],
                "schemaVersion": 36,
                "editable": True,
                "graphTooltip": 1,
                "refresh": "30s",
                "time": {"from": "now-1h", "to": "now"},
                "templating": {"list": _variables()},
                "panels": list(laid_out(ROWS)),
            },
            indent=1,
        )
        + "\n"
    )


def _variables() -> list[dict[str, Any]]:
    return [
        {
            "name": "datasource",
            "label": "Prometheus",
            "type": "datasource",
            "query": "prometheus",
        },
        _variable("job", "label_values(classwire_build_info, job)"),
        {
            **_variable("instance", 'label_values(up{job=~"$job"}, instance)'),
            "allValue": ".+",
        },
        {
            **_variable(
                "model",
                'label_values(classwire_model_state{job=~"$job", instance=~"$instance"}, model)',
            ),
            "allValue": ".+",
        },
    ]


def _variable(name: str, query: str) -> dict[str, Any]:
    """Return a variable with several values, all by default. It refreshes with the time range."""
    return {
        "name": name,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "current": {"text": ["All"], "value": ["$__all"]},
        "sort": 1,
    }


if __name__ == "__main__":
    FILE.write_text(dashboard(), encoding="utf-8")

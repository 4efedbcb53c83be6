"""Write deploy/grafana/classwire.json, the dashboard, from the rows that define it."""

import json
from pathlib import Path
from typing import Any

from .panel import DATASOURCE, laid_out
from .rows import ROWS

FILE = Path(__file__).parents[2] / "deploy" / "grafana" / "classwire.json"


def dashboard() -> str:
    """The dashboard's JSON."""
    return (
        json.dumps(
            {
                "uid": "classwire",
                "title": "Classwire",
                "description": "Is it healthy, and why is it slow? See docs/operate/metrics.md.",
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
    """A multi-value variable, "all" by default; Grafana queries it for each time range."""
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

"""The shipped rules, configuration and dashboard, and their queries."""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
CONFIGURATION = DEPLOY / "prometheus" / "prometheus.yml"
RULES = DEPLOY / "prometheus" / "classwire.rules.yml"
DASHBOARD = DEPLOY / "grafana" / "classwire.json"

_VARIABLE = re.compile(r"label_values\((?P<series>.+), (?P<label>\w+)\)")


class Asked(NamedTuple):
    """A query, and its place."""

    where: str
    expr: str


@functools.cache
def rules() -> list[dict[str, Any]]:
    """Return all rules of all groups."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """Return the alerts by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return loaded


def panels() -> list[dict[str, Any]]:
    """Return the panels of the dashboard, without the row headings."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def asked_by_dashboard(variables: Mapping[str, str]) -> Iterator[Asked]:
    """Return every query of the dashboard and of its variables, with these values of the
    variables.

    A query for the values of a label becomes `count by (label)`.
    """
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            found = _VARIABLE.fullmatch(variable["query"]["query"])
            assert found is not None, variable
            expr = f"count by ({found['label']}) ({found['series']})"
            yield Asked(f"${variable['name']}", _filled_in(expr, variables))
    for panel in panels():
        for target in panel["targets"]:
            where = f"{panel['title']}, {target['refId']}"
            yield Asked(where, _filled_in(target["expr"], variables))


def _filled_in(expr: str, variables: Mapping[str, str]) -> str:
    for name, value in variables.items():
        expr = expr.replace(f"${name}", value)
    assert "$" not in expr, expr
    return expr

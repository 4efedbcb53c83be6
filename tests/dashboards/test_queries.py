"""Every shipped query matches the exported series."""

import re

import pytest

from classwire.contract.reasons import Reason
from tests.dashboards.series import ADDED, LABELS, OF_PROMETHEUS, series
from tests.dashboards.shipped import Asked, asked_by_dashboard, rules

VARIABLES = {"job": "classwire", "instance": ".+", "model": ".+", "__rate_interval": "5m"}


def asked() -> list[Asked]:
    """Return every shipped query."""
    by_rules = [Asked(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]
    return [*by_rules, *asked_by_dashboard(VARIABLES)]


@pytest.mark.parametrize("query", asked(), ids=lambda query: query.where)
def test_queries_use_exported_series(query: Asked) -> None:
    """A query uses only exported series and their labels, and never replaces missing data by a
    number.
    """
    names = list(series(query.expr))

    for name in names:
        assert name in LABELS or name in OF_PROMETHEUS, name
    for name, selector in re.findall(r"([\w:]+)\{([^}]*)\}", query.expr):
        labels = set(re.findall(r"(\w+)\s*[=!]", selector))
        assert labels <= LABELS.get(name, OF_PROMETHEUS.get(name, {"reason", "method"})) | ADDED
    known = set[str]().union(*(LABELS.get(name, OF_PROMETHEUS.get(name, ())) for name in names))
    if names:
        for labels in re.findall(r"\bby \(([^)]*)\)", query.expr):
            assert set(re.split(r",\s*", labels)) <= known | ADDED | {"model", "reason", "method"}
    assert "vector(" not in query.expr


def test_reasons_are_of_the_contract() -> None:
    """Queries and rules select only by reasons of the contract."""
    for query in asked():
        for reasons in re.findall(r'reason=~?"([^"]+)"', query.expr):
            assert {*reasons.split("|")} <= {str(reason) for reason in Reason}

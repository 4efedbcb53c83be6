"""The rules and the dashboard as files: well-formed, complete, and of nothing that is not there."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from classwire._reasons import Reason
from classwire_server.metrics.table import METRICS
from scripts.dashboard.__main__ import dashboard as written
from tests.dashboards.prometheus import Prometheus, faster_rules
from tests.dashboards.shipped import (
    CONFIGURATION,
    DASHBOARD,
    RULES,
    Asked,
    alerts,
    asked_by_dashboard,
    dashboard,
    panels,
    rules,
)

UNIT_TESTS = Path(__file__).with_name("rules.test.yml")
PAGE = Path(__file__).parents[2] / "docs" / "operating.md"
VARIABLES = {"job": "classwire", "instance": ".+", "model": ".+", "__rate_interval": "5m"}

SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}
LABELS = {
    metric.name + suffix: {*metric.labels, *(("le",) if suffix == "_bucket" else ())}
    for metric in METRICS
    for suffix in SUFFIXES[metric.kind]
}
"""The labels of each series that a server gives, but for those that Prometheus adds."""
ADDED = {"job", "instance"}
OF_PROMETHEUS = {"up": set[str](), "ALERTS": {"alertname", "alertstate", "severity", "model"}}

WORDS = re.compile(r'"[^"]*"|\[[^]]*\]|[A-Za-z_:][\w:]*')


def asked() -> list[Asked]:
    """Every query that is shipped."""
    by_rules = [Asked(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]
    return [*by_rules, *asked_by_dashboard(VARIABLES)]


def series(expr: str) -> Iterator[str]:
    """The names of series in a query."""
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for word in WORDS.findall(expr):
        if word.startswith(("classwire_", "process_")) or word in OF_PROMETHEUS or ":" in word:
            if not word.startswith(('"', "[")) and word not in recorded:
                yield word


def promtool(*arguments: str) -> None:
    """Run promtool; it must have nothing to say against what it is given."""
    program = Prometheus.path("promtool")
    if program is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_them() -> None:
    """The configuration and the rules that it names."""
    promtool("check", "config", "--lint-fatal", str(CONFIGURATION))
    promtool("check", "rules", "--lint-fatal", str(RULES))


def test_rules() -> None:
    """On made-up series each alert fires when there is reason to, not before, and clears."""
    promtool("test", "rules", str(UNIT_TESTS))


def test_every_alert_is_tested_both_ways() -> None:
    """Each is expected to fire at some time, and not to at a later one."""
    expected: dict[str, list[bool]] = {name: [] for name in alerts()}
    for test in yaml.safe_load(UNIT_TESTS.read_text(encoding="utf-8"))["tests"]:
        for case in test["alert_rule_test"]:
            expected[case["alertname"]].append(bool(case.get("exp_alerts")))

    for name, fires in expected.items():
        assert True in fires, name
        assert not fires[-1], name


@pytest.mark.parametrize("query", asked(), ids=lambda query: query.where)
def test_queries_ask_for_what_is_there(query: Asked) -> None:
    """Each series is served, each label is one of its own, and nothing is made up for no data."""
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
    """What queries and rules select by is a reason that there is."""
    for query in asked():
        for reasons in re.findall(r'reason=~?"([^"]+)"', query.expr):
            assert {*reasons.split("|")} <= {str(reason) for reason in Reason}


def test_alerts_say_what_to_do() -> None:
    """Each has a severity, a summary, and a heading in docs/operating.md; there are no others."""
    page = PAGE.read_text(encoding="utf-8")

    for name, alert in alerts().items():
        assert alert["labels"]["severity"] in {"critical", "warning"}
        assert alert["annotations"]["summary"]
        assert alert["annotations"]["runbook_url"] == f"docs/operating.md#{name.lower()}"
        assert f"\n### {name}\n" in page
    assert set(re.findall(r"^### (Classwire\w+)$", page, re.MULTILINE)) == alerts().keys()


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
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= given | {"alertname"}


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


def test_faster_rules_are_the_same_rules() -> None:
    """What a real Prometheus is tried with differs in times alone."""

    def timeless(rule: dict[str, str]) -> dict[str, str]:
        expr = re.sub(r"(\[|offset )\d+[smhd]", r"\1", rule["expr"])
        return {**rule, "expr": expr, "for": ""}

    faster = [rule for group in faster_rules()["groups"] for rule in group["rules"]]
    assert [timeless(rule) for rule in faster] == [timeless(rule) for rule in rules()]
    assert [rule["expr"] for rule in faster] != [rule["expr"] for rule in rules()]

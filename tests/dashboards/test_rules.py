"""The rules: promtool accepts them, each alert fires when it should, and states a remedy."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.dashboards.prometheus import Prometheus, faster_rules
from tests.dashboards.shipped import CONFIGURATION, DEPLOY, RULES, alerts, rules

UNIT_TESTS = tuple(Path(__file__).with_name(name) for name in ("rules.test.yml", "days.test.yml"))
PAGE = Path(__file__).parents[2] / "docs" / "operate" / "alerts.md"


def promtool(*arguments: str) -> None:
    """Run promtool, and assert that it finds no fault."""
    program = Prometheus.path("promtool")
    if program is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_rules() -> None:
    """The configuration and its rules pass promtool's checks."""
    promtool("check", "config", "--lint-fatal", str(CONFIGURATION))
    promtool("check", "rules", "--lint-fatal", str(RULES))


def test_rules() -> None:
    """On synthetic series each alert fires when it should, not before, and clears."""
    promtool("test", "rules", *map(str, UNIT_TESTS))


def test_every_alert_is_tested_both_ways() -> None:
    """The tests of the rules have a time at which each alert fires, and a later one at which it
    does not.
    """
    expected: dict[str, list[bool]] = {name: [] for name in alerts()}
    for file in UNIT_TESTS:
        for test in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]:
            for case in test.get("alert_rule_test", ()):
                expected[case["alertname"]].append(bool(case.get("exp_alerts")))

    for name, fires in expected.items():
        assert True in fires, name
        assert not fires[-1], name


def test_alerts_say_what_to_do() -> None:
    """Each alert has a severity, a summary and a heading in docs/operate/alerts.md, which has no
    others.
    """
    page = PAGE.read_text(encoding="utf-8")

    for name, alert in alerts().items():
        assert alert["labels"]["severity"] in {"critical", "warning"}
        assert alert["annotations"]["summary"]
        assert alert["annotations"]["runbook_url"] == f"docs/operate/alerts.md#{name.lower()}"
        assert f"\n## {name}\n" in page
    assert set(re.findall(r"^## (Classwire\w+)$", page, re.MULTILINE)) == alerts().keys()


def test_the_job_has_one_name() -> None:
    """The job has one name in the rules, the configuration and the Kubernetes pods."""
    (job,) = yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))["scrape_configs"]
    monitor = DEPLOY / "kubernetes" / "monitoring" / "pod-monitor.yaml"
    pods = yaml.safe_load(monitor.read_text(encoding="utf-8"))["spec"]
    of_pods = pods["selector"]["matchLabels"][pods["jobLabel"]]
    of_rules = set(re.findall(r'job="(\w+)"', RULES.read_text(encoding="utf-8")))

    assert of_rules == {job["job_name"]} == {of_pods}


def test_faster_rules_are_the_same_rules() -> None:
    """The faster rules differ from the shipped ones in times alone."""

    def timeless(rule: dict[str, str]) -> dict[str, str]:
        expr = re.sub(r"(\[|offset )\d+[smhd]", r"\1", rule["expr"])
        return {**rule, "expr": expr, "for": ""}

    faster = [rule for group in faster_rules()["groups"] for rule in group["rules"]]
    assert [timeless(rule) for rule in faster] == [timeless(rule) for rule in rules()]
    assert [rule["expr"] for rule in faster] != [rule["expr"] for rule in rules()]

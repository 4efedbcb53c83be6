"""A real Prometheus with the shipped configuration and shorter times."""

import json
import os
import re
import shutil
import signal
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import yaml

from tests.contract.engines import PATIENCE_S, eventually

from .shipped import CONFIGURATION, RULES

WINDOWS = {"5m": "4s", "15m": "12s", "1h": "2s", "1d": "4s"}
"""Replacements of the time windows in expressions."""
FOR = "1s"
"""Replacements of the times that an alert's condition has to hold."""
INTERVAL = "500ms"

_LISTENING = re.compile(r'msg="Listening on" address=(\S+)')
_WINDOW = re.compile(r"(?P<before>\[|offset )(?P<time>\d+[smhd])\b")


class Firing(NamedTuple):
    """A firing alert, and its server; empty without one."""

    name: str
    instance: str


class Prometheus:
    """Scrapes these targets until the end of the block. Its files are in `folder`."""

    def __init__(self, targets: Sequence[str], folder: Path) -> None:
        self._targets = targets
        self._folder = folder
        self._address = ""
        self._process: subprocess.Popen[bytes]

    @staticmethod
    def path(program: str = "prometheus") -> str | None:
        """Return the path of the program, or of promtool; None where it is not installed."""
        return shutil.which(program)

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Return the samples of an expression at this moment."""
        samples: list[dict[str, Any]] = self._get("query", query=expr)["result"]
        return samples

    def firing(self) -> set[Firing]:
        """Return the firing alerts."""
        labels = [
            alert["labels"] for alert in self._get("alerts")["alerts"] if alert["state"] == "firing"
        ]
        return {Firing(one["alertname"], one.get("instance", "")) for one in labels}

    def log(self) -> str:
        """Its log so far."""
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")

    def __enter__(self) -> Self:
        configuration = self._folder / "prometheus.yml"
        configuration.write_text(yaml.safe_dump(self._configuration()), encoding="utf-8")
        (self._folder / RULES.name).write_text(yaml.safe_dump(faster_rules()), encoding="utf-8")
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    self.path() or "prometheus",
                    f"--config.file={configuration}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    "--web.listen-address=127.0.0.1:0",
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            assert eventually(self._listens), self.log()
            assert eventually(lambda: "ready to receive web requests" in self.log()), self.log()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(PATIENCE_S)
            raise

    def _listens(self) -> bool:
        assert self._process.poll() is None, self.log()
        found = _LISTENING.search(self.log())
        self._address = found[1] if found else ""
        return bool(found)

    def _configuration(self) -> dict[str, Any]:
        configuration: dict[str, Any] = yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))
        configuration["global"] = {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL}
        (job,) = configuration["scrape_configs"]
        job["static_configs"] = [{"targets": list(self._targets)}]
        return configuration

    def _get(self, path: str, **parameters: str) -> dict[str, Any]:
        url = f"http://{self._address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as response:
            answer = json.load(response)
        assert answer["status"] == "success", answer
        data: dict[str, Any] = answer["data"]
        return data


def faster_rules() -> dict[str, Any]:
    """Return the shipped rules, with only their times shortened."""
    shipped: dict[str, Any] = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    for group in shipped["groups"]:
        for rule in group["rules"]:
            rule["expr"] = _WINDOW.sub(
                lambda found: found["before"] + WINDOWS[found["time"]], rule["expr"]
            )
            if "for" in rule:
                rule["for"] = FOR
    return shipped

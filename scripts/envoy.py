"""Envoy on this machine, with the configuration of deploy/envoy."""

import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

SHIPPED = Path(__file__).parents[1] / "deploy" / "envoy"
INSTALLED_AS = "/etc/envoy"
"""The folder that the shipped configuration names."""
INSTALLED = Path(__file__).parents[1] / ".venv" / "envoy" / "bin" / "envoy"
"""Where `make envoy` installs Envoy, also for programs in the environment of `make ray`."""
START_TIMEOUT_S, STOP_TIMEOUT_S = 60.0, 20.0
LOOPBACK = "127.0.0.1"

Document = dict[str, Any]


def program() -> str | None:
    """Return the path of Envoy; None if it is not installed."""
    return str(INSTALLED) if INSTALLED.exists() else shutil.which("envoy")


@dataclass(frozen=True)
class Settings:
    """What differs from the shipped configuration.

    Port 0 is any free port. `tls` is the folder of the certificates that envoy.yaml names; None is
    without TLS on both sides. `edits` replaces texts in all files. `workers` is the number of
    Envoy's threads for calls.
    """

    model: str = "stars-en"
    port: int = 0
    tls: Path | None = None
    edits: Mapping[str, str] = field(default_factory=dict)
    workers: int = 1


class Envoy:
    """Envoy in front of replicas, ready for calls until the end of the block.

    `folder` gets the configuration and the log, `replicas` are addresses of servers. For use by
    one thread.

    Raises:
        RuntimeError: Envoy is not installed, or does not start; the message has the end of its log.
    """

    def __init__(
        self, folder: Path, replicas: Sequence[str], settings: Settings | None = None
    ) -> None:
        self._folder = folder
        self._settings = settings or Settings()
        self._process: subprocess.Popen[bytes]
        self._admin = ""
        self.port = 0
        self._write("envoy.yaml", self._bootstrap())
        self._write("routes.yaml", self._shipped("routes.yaml"))
        shutil.copy(SHIPPED / "contract.binpb", folder)
        self.set_replicas(replicas)
        self.set_replicas([], cluster="canary")

    @property
    def target(self) -> str:
        """The address for callers."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def set_replicas(self, replicas: Sequence[str], *, cluster: str = "replicas") -> None:
        """Write the file of a cluster's addresses."""
        content = self._shipped(f"{cluster}.yaml")
        (assignment,) = content["resources"]
        assignment["endpoints"] = [{"lb_endpoints": [_endpoint(address) for address in replicas]}]
        self._write(f"{cluster}.yaml", content)

    def set_share(self, canary: int) -> None:
        """Give the canary this share of the calls, in percent."""
        content = self._shipped("routes.yaml")
        routes = content["resources"][0]["virtual_hosts"][0]["routes"]
        first = next(route for route in routes if "route" in route)
        for cluster in first["route"]["weighted_clusters"]["clusters"]:  # all routes share it
            cluster["weight"] = canary if cluster["name"] == "canary" else 100 - canary
        self._write("routes.yaml", content)

    def ready(self, *, cluster: str = "replicas") -> set[str]:
        """Return the addresses of a cluster that get calls."""
        clusters = json.loads(self.statistics("clusters?format=json"))["cluster_statuses"]
        (found,) = (each for each in clusters if each["name"] == cluster)
        return {
            _address(host["address"]["socket_address"])
            for host in found.get("host_statuses", [])
            if host["health_status"] == {"eds_health_status": "HEALTHY"}
        }

    def statistics(self, path: str) -> str:
        """Return a page of Envoy's admin interface."""
        with urllib.request.urlopen(f"http://{self._admin}/{path}", timeout=10.0) as page:
            text: str = page.read().decode()
        return text

    @property
    def log(self) -> str:
        """Its log so far, with a line for each call that has ended."""
        return (self._folder / "log").read_text(errors="replace")

    def __enter__(self) -> Self:
        path = program()
        if path is None:
            raise RuntimeError("Envoy is not installed: run `make envoy`")
        admin = self._folder / "admin"
        admin.unlink(missing_ok=True)
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    path,
                    *("--config-path", str(self._folder / "envoy.yaml")),
                    *("--admin-address-path", str(admin)),
                    *("--concurrency", str(self._settings.workers)),
                    *("--log-level", "warning"),
                    "--disable-hot-restart",
                    # Writes the lines of the last calls at once.
                    *("--file-flush-interval-msec", "100"),
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait_until_ready(admin)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def _wait_until_ready(self, admin: Path) -> None:
        """Wait for the ports, and for the first health checks."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s and self._process.poll() is None:
            with suppress(OSError, ValueError):
                self._admin = admin.read_text()
                self.statistics("ready")
                listeners = json.loads(self.statistics("listeners?format=json"))
                (listener,) = listeners["listener_statuses"]
                self.port = listener["local_address"]["socket_address"]["port_value"]
                return
            time.sleep(0.05)
        raise RuntimeError(f"Envoy does not start: {self.log[-2_000:]}")

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _bootstrap(self) -> Document:
        content = self._shipped("envoy.yaml")
        content["admin"]["address"]["socket_address"]["port_value"] = 0
        resources = content["static_resources"]
        (listener,) = resources["listeners"]
        listener["address"]["socket_address"] = {
            "address": LOOPBACK,
            "port_value": self._settings.port,
        }
        if self._settings.tls is None:
            for secured in (*listener["filter_chains"], *resources["clusters"]):
                del secured["transport_socket"]
        return content

    def _shipped(self, name: str) -> Document:
        """Return a file of the shipped configuration, with all replacements."""
        text = (SHIPPED / name).read_text(encoding="utf-8")
        settings = self._settings
        replaced = {
            **settings.edits,
            f"{INSTALLED_AS}/tls": str(settings.tls),
            INSTALLED_AS: str(self._folder),
            "classwire.model.stars-en": f"classwire.model.{settings.model}",
        }
        for old, new in replaced.items():
            text = text.replace(old, new)
        content: Document = yaml.safe_load(text)
        return content

    def _write(self, name: str, content: Document) -> None:
        """Write a file aside and move it into place: Envoy sees only moves."""
        aside = self._folder / f".{name}"
        aside.write_text(yaml.safe_dump(content), encoding="utf-8")
        os.replace(aside, self._folder / name)


def _endpoint(address: str) -> Document:
    host, _, port = address.rpartition(":")
    place = {"address": host, "port_value": int(port)}
    return {"endpoint": {"address": {"socket_address": place}}}


def _address(place: Document) -> str:
    return f"{place['address']}:{place['port_value']}"

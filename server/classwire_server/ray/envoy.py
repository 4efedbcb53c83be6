"""The file of addresses that Envoy watches: replicas.yaml of deploy/envoy."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CLUSTER = "replicas"


def write_replicas(path: Path, targets: Sequence[str]) -> None:
    """Write the addresses, each `IP:port`, aside and move the file into place: Envoy sees only
    moves.
    """
    aside = path.with_name(f".{path.name}")
    aside.write_text(json.dumps(_document(targets), indent=1) + "\n", encoding="utf-8")
    os.replace(aside, path)


def _document(targets: Sequence[str]) -> dict[str, Any]:
    """The content; JSON is YAML too."""
    endpoints = {"lb_endpoints": [_endpoint(target) for target in targets]}
    kind = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
    assignment = {"@type": kind, "cluster_name": CLUSTER, "endpoints": [endpoints]}
    return {"resources": [assignment]}


def _endpoint(target: str) -> dict[str, Any]:
    host, _, port = target.rpartition(":")
    place = {"address": host.strip("[]"), "port_value": int(port)}
    return {"endpoint": {"address": {"socket_address": place}}}

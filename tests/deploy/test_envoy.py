"""Envoy's manifests follow the Kubernetes API, and its configuration is that of deploy/envoy."""

from typing import Any

import kubernetes_validate
import pytest

from scripts.envoy import SHIPPED
from tests.deploy.manifests import BASE, DEPLOY, Manifest, read, render

FOLDER = DEPLOY / "kubernetes" / "envoy"
VERSIONS = ["1.30", "1.37"]
NOT_MANIFESTS = {"envoy.yaml", "kustomization.yaml"}
FILES = sorted(path for path in FOLDER.glob("*.yaml") if path.name not in NOT_MANIFESTS)


def common(configuration: Manifest) -> Manifest:
    """Return a configuration without addresses of replicas and without TLS."""
    resources = configuration["static_resources"]
    for listener in resources["listeners"]:
        for chain in listener["filter_chains"]:
            chain.pop("transport_socket", None)
    for cluster in resources["clusters"]:
        for key in ("type", "eds_cluster_config", "load_assignment", "transport_socket"):
            cluster.pop(key, None)
    return configuration


@pytest.mark.parametrize("version", VERSIONS)
def test_every_file_is_of_the_api(version: str) -> None:
    """This version's schemas accept every file, and the kustomization lists it."""
    for path in FILES:
        kubernetes_validate.validate(read(path), version, strict=True)
    listed = read(FOLDER / "kustomization.yaml")["resources"]
    assert [FOLDER / name for name in listed if name.endswith(".yaml")] == FILES


def test_the_configuration_is_the_shipped_one() -> None:
    """Only the replicas' addresses and TLS differ; the addresses are those of the Service."""
    configuration = read(FOLDER / "envoy.yaml")
    stable, canary = configuration["static_resources"]["clusters"]
    service = read(BASE / "service.yaml")
    expected = (service["metadata"]["name"], service["spec"]["ports"][0]["port"])

    assert address_of(stable) == expected
    assert address_of(canary) == (f"{expected[0]}-canary", expected[1])
    assert common(configuration) == common(read(SHIPPED / "envoy.yaml"))


def address_of(cluster: Manifest) -> tuple[Any, Any]:
    """Return host and port of a cluster with one address."""
    (locality,) = cluster["load_assignment"]["endpoints"]
    (endpoint,) = locality["lb_endpoints"]
    place = endpoint["endpoint"]["address"]["socket_address"]
    return place["address"], place["port_value"]


def test_the_rendered_manifests() -> None:
    """Envoy's pods get every file that the configuration names, may call the servers, and have
    the Service's port.
    """
    rendered = render(FOLDER)
    files = rendered["ConfigMap"]
    pod = rendered["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    (volume,) = pod["spec"]["volumes"]
    (listener,) = read(FOLDER / "envoy.yaml")["static_resources"]["listeners"]

    assert files["data"].keys() | files["binaryData"].keys() == {
        "envoy.yaml",
        "routes.yaml",
        "contract.binpb",
    }
    assert volume["configMap"]["name"] == files["metadata"]["name"]
    (callers,) = read(BASE / "network.yaml")["spec"]["ingress"][0]["from"]
    assert callers["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports["grpc"] == listener["address"]["socket_address"]["port_value"]
    assert rendered["Service"]["spec"]["ports"][0]["targetPort"] == "grpc"
    selector = rendered["Service"]["spec"]["selector"]
    assert selector == rendered["Deployment"]["spec"]["selector"]["matchLabels"]
    assert selector == rendered["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]

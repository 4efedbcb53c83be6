"""The manifests follow the Kubernetes API, agree with each other, and fit the server."""

import copy
from pathlib import Path

import kubernetes_validate
import pytest

from classwire_server.observability.metrics.definitions import GROUPS
from tests.deploy.manifests import (
    BASE,
    DEPLOY,
    KSERVE,
    OWN_MODEL,
    Manifest,
    instruction,
    probes,
    read,
    render,
    settings_of,
)

# The first has preStop's sleep; the last is the newest that the validator has schemas for.
VERSIONS = ["1.30", "1.32", "1.34", "1.37"]
CUSTOM = {"PodMonitor"}
FILES = sorted(set(BASE.glob("*.yaml")) - {BASE / "kustomization.yaml"})
KUSTOMIZATIONS = [BASE, OWN_MODEL]
NAMES = [folder.name for folder in KUSTOMIZATIONS]
SERVICES = {"startup": "", "readiness": "", "liveness": "classwire.liveness"}


def validate(manifest: Manifest, version: str) -> None:
    """Raise ValidationError for a manifest that this version's API would reject, unknown fields
    included.
    """
    kubernetes_validate.validate(manifest, version, strict=True)


def container_of(deployment: Manifest) -> Manifest:
    """Return the server's container."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def pod_of(container: Manifest, volumes: list[Manifest]) -> Manifest:
    """Return a pod with only that container."""
    spec = {"containers": [container], "volumes": volumes}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_file_is_of_the_api(version: str) -> None:
    """This version's schemas accept every file of the base."""
    for path in FILES:
        validate(read(path), version)


def test_an_unknown_field_is_rejected() -> None:
    """The validator rejects a field that a container does not have."""
    deployment = copy.deepcopy(read(BASE / "deployment.yaml"))
    container_of(deployment)["readonlyRootFilesystem"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(deployment, VERSIONS[-1])


def test_the_kustomization_lists_every_file() -> None:
    """The kustomization lists every file of the base."""
    assert [BASE / name for name in read(BASE / "kustomization.yaml")["resources"]] == FILES


@pytest.mark.parametrize("folder", KUSTOMIZATIONS, ids=NAMES)
def test_the_rendered_manifests_follow_the_api(folder: Path) -> None:
    """The rendered manifests follow the API, in one namespace."""
    rendered = render(folder)
    for kind, manifest in rendered.items():
        if kind not in CUSTOM:
            validate(manifest, VERSIONS[-1])
    assert len({manifest["metadata"].get("namespace") for manifest in rendered.values()}) == 1


@pytest.mark.parametrize("folder", KUSTOMIZATIONS, ids=NAMES)
def test_the_pod_fits_the_server(folder: Path) -> None:
    """The pod has valid settings, the server's ports, time to drain and places to write.

    It gets no variable or token that the manifest does not state.
    """
    rendered = render(folder)
    variables = rendered["ConfigMap"]["data"]
    files = {name for name in variables if name.startswith("CLASSWIRE_TLS_")}
    without = {name: value for name, value in variables.items() if name not in files}
    config = settings_of(without | {"CLASSWIRE_INSECURE": "true"}, [])
    pod = rendered["Deployment"]["spec"]["template"]["spec"]
    container = container_of(rendered["Deployment"])
    (source,) = container["envFrom"]
    assert source["configMapRef"]["name"] == rendered["ConfigMap"]["metadata"]["name"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": config.port, "metrics": config.metrics_port}
    pause_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= pause_s + config.drain_timeout_s + 10
    assert not pod["enableServiceLinks"]
    assert not pod["automountServiceAccountToken"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert f"{pod['securityContext']['runAsUser']}:" in instruction("USER")
    assert container["securityContext"]["readOnlyRootFilesystem"]
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {"/tmp", "/var/cache/classwire"} <= mounts
    read_from = [variables[name] for name in files] + [
        model.partition("=")[2] for model in config.model
    ]
    assert all(any(Path(path).is_relative_to(mount) for mount in mounts) for path in read_from)


def test_the_probes() -> None:
    """The cluster probes the server's port for startup, readiness and liveness."""
    port = settings_of({}, ["--insecure"]).port
    for purpose, probe in probes(container_of(read(BASE / "deployment.yaml"))):
        assert probe["grpc"] == {"port": port, "service": SERVICES[purpose]}


def test_the_probes_of_the_example_with_tls() -> None:
    """With TLS a command in the pod probes the server, since the cluster's own probes speak no
    TLS.
    """
    rendered = render(OWN_MODEL)
    assert rendered["ConfigMap"]["data"]["CLASSWIRE_INSECURE"] == "false"
    for purpose, probe in probes(container_of(rendered["Deployment"])):
        service = [name for name in [SERVICES[purpose]] if name]
        assert probe["exec"]["command"] == ["classwire", "health", *service, "--timeout-s", "8"]
        assert "grpc" not in probe


def test_selectors_match_the_pods() -> None:
    """Service, disruption budget and network policy select exactly the deployment's pods.

    Pods with the label of callers may call, on the calls' port; the metrics' port is open.
    """
    labels = read(BASE / "deployment.yaml")["spec"]["template"]["metadata"]["labels"]
    policy = read(BASE / "network.yaml")["spec"]
    assert read(BASE / "deployment.yaml")["spec"]["selector"]["matchLabels"] == labels
    assert read(BASE / "service.yaml")["spec"]["selector"] == labels
    assert read(BASE / "disruption.yaml")["spec"]["selector"]["matchLabels"] == labels
    assert policy["podSelector"]["matchLabels"] == labels
    assert read(BASE / "service.yaml")["spec"]["clusterIP"] == "None"

    calls, metrics = policy["ingress"]
    assert calls["from"] == [{"podSelector": {"matchLabels": {"classwire-client": "true"}}}]
    config = settings_of({}, ["--insecure"])
    assert [rule["ports"] for rule in (calls, metrics)] == [
        [{"port": config.port}],
        [{"port": config.metrics_port}],
    ]
    assert policy["egress"] == []


def test_kustomize_leaves_selectors_alone() -> None:
    """The rendered network policy lets in the same callers as the file."""
    assert render(BASE)["NetworkPolicy"]["spec"] == read(BASE / "network.yaml")["spec"]


def test_the_autoscaler_asks_for_a_metric_that_there_is() -> None:
    """The autoscaler's metric and label are the server's, prometheus-adapter serves that metric,
    and the deployment sets no number of pods.
    """
    known = {metric.name: metric for metrics in GROUPS.values() for metric in metrics}
    scaler = read(BASE / "autoscaler.yaml")["spec"]
    (metric,) = (entry["pods"]["metric"] for entry in scaler["metrics"])
    assert known[metric["name"]].kind == "gauge"
    assert metric["selector"]["matchLabels"].keys() <= set(known[metric["name"]].labels)
    (rule,) = read(DEPLOY / "kubernetes" / "prometheus-adapter.yaml")["rules"]["custom"]
    assert rule["seriesQuery"].startswith(metric["name"] + "{")
    assert scaler["scaleTargetRef"]["name"] == read(BASE / "deployment.yaml")["metadata"]["name"]
    assert "replicas" not in read(BASE / "deployment.yaml")["spec"]


def test_the_monitor_finds_the_pods() -> None:
    """The Prometheus Operator's monitor has the labels and the port of the pods.

    The validator has no schema for the monitor.
    """
    monitor = read(DEPLOY / "kubernetes" / "monitoring" / "pod-monitor.yaml")["spec"]
    deployment = read(BASE / "deployment.yaml")
    assert monitor["selector"] == deployment["spec"]["selector"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["port"] in [port["name"] for port in container_of(deployment)["ports"]]


def test_the_runtime_of_kserve() -> None:
    """The KServe runtime's container follows the Kubernetes API, and the server accepts its
    flags.

    Of KServe's own fields only a fixed list is allowed, since the validator has no schema for
    them.
    """
    spec = copy.deepcopy(read(KSERVE / "runtime.yaml")["spec"])
    (container,) = spec.pop("containers")
    assert container["name"] == "kserve-container"
    validate(pod_of(container, spec.pop("volumes")), VERSIONS[-1])
    assert spec.keys() == {"annotations", "supportedModelFormats", "protocolVersions"}
    arguments = [argument.replace("{{.Name}}", "reviews") for argument in container["args"]]
    config = settings_of({}, arguments)
    assert config.open_inference
    assert config.model == ("reviews=/mnt/models",)
    (port,) = container["ports"]
    assert port["containerPort"] == config.port
    assert spec["annotations"]["prometheus.kserve.io/port"] == str(config.metrics_port)
    for purpose, probe in probes(container):
        assert probe["grpc"] == {"port": config.port, "service": SERVICES[purpose]}


def test_the_inference_service() -> None:
    """The inference service names the runtime, with a format and a protocol of the runtime, and
    its pod fields follow the Kubernetes API.
    """
    runtime = read(KSERVE / "runtime.yaml")
    predictor = copy.deepcopy(read(KSERVE / "inference-service.yaml")["spec"]["predictor"])
    model = predictor.pop("model")
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]
    formats = [each["name"] for each in runtime["spec"]["supportedModelFormats"]]
    assert model["modelFormat"]["name"] in formats
    assert predictor.pop("minReplicas") <= predictor.pop("maxReplicas")
    pod = pod_of({"name": "kserve-container", "image": "a"}, [])
    pod["spec"] |= predictor
    validate(pod, VERSIONS[-1])
    assert not predictor["enableServiceLinks"]
    drain_s = settings_of({}, ["--insecure"]).drain_timeout_s
    assert predictor["terminationGracePeriodSeconds"] >= drain_s + 10

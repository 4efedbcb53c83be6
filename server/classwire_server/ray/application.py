"""The application of Ray Serve: servers, and the directory of their addresses."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from classwire_server.errors import telling_line

from .directory import Directory
from .envoy import write_replicas
from .replica import HEALTH_PERIOD_S, HEALTH_TIMEOUT_S, LEAD_S, Replica
from .scaling import by_queue_time
from .server_process import KILL_AFTER_S

NAME = "classwire"
SERVERS, DIRECTORY = "Servers", "Directory"
ANSWER_TIMEOUT_S = 30.0
STARTS = 3
"""How often Ray Serve tries to start servers that do not start, before `up` fails."""
METRICS_PERIOD_S = 2.0
"""How often a replica records the queue time of its server."""
LOOK_BACK_S = 10.0
"""Time over which the policy sees the mean of what a replica records."""


@dataclass(frozen=True)
class Scaling:
    """Lets the number of servers follow their queue times, up to `max_replicas`.

    Ray Serve adds servers once it has wanted to for `upscale_delay_s`, and removes one once it has
    wanted to for `downscale_delay_s`.
    """

    max_replicas: int
    upscale_delay_s: float = 30.0
    downscale_delay_s: float = 600.0


@dataclass(frozen=True)
class Fleet:
    """What `up` starts.

    `replicas` servers, with `scaling` at least, each with the options `arguments` of `classwire
    serve` and with `cpus` cores and `gpus` GPUs of its node.
    """

    replicas: int
    arguments: tuple[str, ...] = ()
    scaling: Scaling | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    drain_timeout_s: float = 30.0


def up(fleet: Fleet) -> None:
    """Start the servers, or replace those that run, one after the other; wait until all are ready.

    Needs `ray.init`. Raises RuntimeError if the servers do not start.
    """
    serve.start(proxy_location="Disabled")
    directory = serve.deployment(
        name=DIRECTORY, ray_actor_options={"num_cpus": 0}
    )(Directory).bind()  # fmt: skip
    servers = serve.deployment(
        name=SERVERS,
        ray_actor_options={"num_cpus": fleet.cpus, "num_gpus": fleet.gpus},
        max_constructor_retry_count=STARTS,
        health_check_period_s=HEALTH_PERIOD_S,
        health_check_timeout_s=HEALTH_TIMEOUT_S,
        graceful_shutdown_timeout_s=LEAD_S + fleet.drain_timeout_s + 2 * KILL_AFTER_S,
        **_size(fleet),
    )(Replica)
    application = servers.bind(directory, fleet.arguments, fleet.drain_timeout_s)
    serve.run(application, name=NAME, route_prefix=None)


def down() -> None:
    """Drain all servers, and wait until they have ended. Needs `ray.init`."""
    serve.delete(NAME)


def targets(replicas_file: str | Path | None = None) -> list[str] | None:
    """The addresses of all ready servers, each `IP:port`, for `classwire.Client`.

    None while the directory is new and may not know all of them. With `replicas_file` it writes the
    file that Envoy watches, unless the result is None. Needs `ray.init`, and servers that are up.
    Raises RuntimeError if there are none or Ray has lost the directory, and TimeoutError if the
    directory does not answer.
    """
    try:
        handle = _handle()
        found: list[str] | None = handle.targets.remote().result(timeout_s=ANSWER_TIMEOUT_S)
    except (RayError, RayServeException) as error:
        raise RuntimeError(telling_line(error)) from error
    if replicas_file is not None and found is not None:
        write_replicas(Path(replicas_file), found)
    return found


def replica_states() -> dict[str, int]:
    """The number of servers in each state of Ray Serve; empty without servers."""
    application = serve.status().applications.get(NAME)
    if application is None or SERVERS not in application.deployments:
        return {}
    states = application.deployments[SERVERS].replica_states
    return {str(state): int(count) for state, count in states.items()}


def _handle() -> Any:
    if NAME not in serve.status().applications:
        raise RuntimeError("no servers are up: start them with `classwire ray up`")
    return serve.get_deployment_handle(DIRECTORY, NAME)


def _size(fleet: Fleet) -> dict[str, Any]:
    scaling = fleet.scaling
    if scaling is None:
        return {"num_replicas": fleet.replicas}
    return {
        "autoscaling_config": {
            "min_replicas": fleet.replicas,
            "max_replicas": scaling.max_replicas,
            "upscale_delay_s": scaling.upscale_delay_s,
            "downscale_delay_s": scaling.downscale_delay_s,
            "metrics_interval_s": METRICS_PERIOD_S,
            "look_back_period_s": LOOK_BACK_S,
            "policy": {"policy_function": f"{by_queue_time.__module__}:{by_queue_time.__name__}"},
        }
    }

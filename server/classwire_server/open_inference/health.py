"""Whether the server and its models are there, as the protocol asks it."""

from grpc_health.v1.health_pb2 import HealthCheckResponse

from classwire_server.rpc.health import LIVENESS, Health, model_health

from . import inference_pb2 as pb
from .service import is_version


class Probes:
    """The RPCs that ask for health, as functions on messages. Safe for use by any thread."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def server_live(self, request: pb.ServerLiveRequest) -> pb.ServerLiveResponse:
        """Whether the process is there."""
        return pb.ServerLiveResponse(live=self._serves(LIVENESS))

    def server_ready(self, request: pb.ServerReadyRequest) -> pb.ServerReadyResponse:
        """Whether every model answers."""
        return pb.ServerReadyResponse(ready=self._serves(""))

    def model_ready(self, request: pb.ModelReadyRequest) -> pb.ModelReadyResponse:
        """Whether a model answers; one that is not there does not."""
        ready = is_version(request.version) and self._serves(model_health(request.name))
        return pb.ModelReadyResponse(ready=ready)

    def _serves(self, service: str) -> bool:
        return self._health.status(service) == HealthCheckResponse.SERVING

"""The protocol's RPCs for health."""

from grpc_health.v1.health_pb2 import HealthCheckResponse

from classwire_server.rpc.health import LIVENESS, Health, model_health

from . import inference_pb2 as pb
from .service import is_version


class Probes:
    """The RPCs for health, as functions on messages. Any thread may call them."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def server_live(self, request: pb.ServerLiveRequest) -> pb.ServerLiveResponse:
        """Whether the process runs."""
        return pb.ServerLiveResponse(live=self._serves(LIVENESS))

    def server_ready(self, request: pb.ServerReadyRequest) -> pb.ServerReadyResponse:
        """Whether every model is ready."""
        return pb.ServerReadyResponse(ready=self._serves(""))

    def model_ready(self, request: pb.ModelReadyRequest) -> pb.ModelReadyResponse:
        """Whether a model is ready; an unknown model is not."""
        ready = is_version(request.version) and self._serves(model_health(request.name))
        return pb.ModelReadyResponse(ready=ready)

    def _serves(self, service: str) -> bool:
        return self._health.status(service) == HealthCheckResponse.SERVING

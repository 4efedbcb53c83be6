"""ModelService of the fake server."""

from __future__ import annotations

import grpc

from classwire.contract.reasons import Reason
from classwire.v1 import classwire_pb2 as pb
from classwire.v1 import classwire_pb2_grpc as pb_grpc

from .failures import Failure, trailers
from .script import Script


class ModelService(pb_grpc.ModelServiceServicer):
    """Describes the one model."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def ListModels(
        self, request: pb.ListModelsRequest, context: grpc.ServicerContext
    ) -> pb.ListModelsResponse:
        """List the one model."""
        context.set_trailing_metadata(trailers(context))
        return pb.ListModelsResponse(models=[self._script.model])

    def GetModel(
        self, request: pb.GetModelRequest, context: grpc.ServicerContext
    ) -> pb.GetModelResponse:
        """Describe the one model."""
        context.set_trailing_metadata(trailers(context))
        if request.name not in ("", self._script.model.name):
            Failure(Reason.UNKNOWN_MODEL).abort(context)
        return pb.GetModelResponse(model=self._script.model)

    def GetServerInfo(
        self, request: pb.GetServerInfoRequest, context: grpc.ServicerContext
    ) -> pb.GetServerInfoResponse:
        """Describe the fake server."""
        context.set_trailing_metadata(trailers(context))
        limits = pb.ServerLimits(max_message_bytes=4 << 20, max_streams=8)
        limits.default_timeout.FromSeconds(30)
        return pb.GetServerInfoResponse(version="0.0.0", features=["fake"], limits=limits)

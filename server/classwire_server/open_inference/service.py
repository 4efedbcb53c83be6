"""GRPCInferenceService: the RPCs of the Open Inference Protocol, as functions on messages."""

from collections.abc import Iterator

from classwire.contract.reasons import Reason
from classwire_server import __version__
from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import RequestError
from classwire_server.registry.registry import ModelState, Registry, ServedModel
from classwire_server.rpc.call import Call
from classwire_server.scheduling.batch import Priority
from classwire_server.service.items import Submission
from classwire_server.service.streaming.streams import Streams

from . import inference_pb2 as pb
from .inference import Inference
from .metadata import BACKEND, model_config, model_index, model_metadata, model_statistics
from .parameters import bad
from .response import VERSION
from .stream import InferStream

EXTENSIONS = ("classification", "model_configuration", "schedule_policy", "statistics")


class InferenceService:
    """All RPCs except those of `health`. Any thread may call them."""

    def __init__(self, registry: Registry, streams: Streams, config: ServerConfig) -> None:
        self._registry = registry
        self._streams = streams
        self._config = config

    def server_metadata(
        self, request: pb.ServerMetadataRequest, call: Call
    ) -> pb.ServerMetadataResponse:
        """Name, version and extensions of the server."""
        return pb.ServerMetadataResponse(name=BACKEND, version=__version__, extensions=EXTENSIONS)

    def model_metadata(
        self, request: pb.ModelMetadataRequest, call: Call
    ) -> pb.ModelMetadataResponse:
        """The tensors of a model."""
        return model_metadata(self._served(call, request.name, request.version))

    def model_config(self, request: pb.ModelConfigRequest, call: Call) -> pb.ModelConfigResponse:
        """How the server runs a model."""
        model = self._served(call, request.name, request.version)
        return pb.ModelConfigResponse(config=model_config(model, self._config))

    def model_infer(self, request: pb.ModelInferRequest, call: Call) -> pb.ModelInferResponse:
        """Score texts; one bad text fails the call."""
        model = self._served(call, request.model_name, request.model_version, "model_")
        inference = Inference.read(request, model, Priority.INTERACTIVE, Submission.of(call))
        inference.run(call)
        return inference.response()

    def model_stream_infer(
        self, requests: Iterator[bytes], call: Call
    ) -> Iterator[pb.ModelStreamInferResponse]:
        """Score texts for as long as the caller sends requests."""
        models: dict[tuple[str, str], ServedModel] = {}  # used by the stream

        def find(name: str, version: str) -> ServedModel:
            if (name, version) not in models:
                model = self._served(call, name, version, "model_")
                call.when_over(model.gate.listen(session.drain))
                models[name, version] = model
            return models[name, version]

        window_items = self._config.stream_window_items
        session = InferStream(find, requests, call, self._streams.limits, window_items)
        return self._streams.serve(session, call)

    def model_statistics(
        self, request: pb.ModelStatisticsRequest, call: Call
    ) -> pb.ModelStatisticsResponse:
        """The statistics of one model, or of all loaded models."""
        if request.name:
            models = [self._served(call, request.name, request.version)]
        else:
            models = [
                entry.served
                for entry in self._registry.seen_by(call.caller).entries()
                if entry.served
            ]
        return pb.ModelStatisticsResponse(model_stats=map(model_statistics, models))

    def repository_index(
        self, request: pb.RepositoryIndexRequest, call: Call
    ) -> pb.RepositoryIndexResponse:
        """The models and their states."""
        if request.repository_name:
            raise bad("repository_name", "is not empty: the one repository has no name")
        entries = self._registry.seen_by(call.caller).entries()
        if request.ready:
            entries = [entry for entry in entries if entry.state()[0] is ModelState.READY]
        return pb.RepositoryIndexResponse(models=map(model_index, entries))

    def _served(self, call: Call, name: str, version: str, prefix: str = "") -> ServedModel:
        """A model by name and version. Raises RequestError UNKNOWN_MODEL or LOADING."""
        if not name:
            raise RequestError(
                Reason.UNKNOWN_MODEL, "the request names no model", field=f"{prefix}name"
            )
        models = self._registry.seen_by(call.caller)
        models.entry(name, f"{prefix}name")  # a call that fails here must not use the model
        if not is_version(version):
            raise RequestError(
                Reason.UNKNOWN_MODEL,
                f"the model has one version, {VERSION}",
                field=f"{prefix}version",
            )
        return models.use(name, f"{prefix}name", call.when_over)


def is_version(version: str) -> bool:
    """Whether models have this version; an empty version is the latest."""
    return version in ("", VERSION)

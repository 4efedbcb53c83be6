"""All services of the port, as handlers for a gRPC server."""

from collections.abc import Iterable, Iterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from classwire.v1 import classwire_pb2 as pb

from .config.server_config import ServerConfig
from .gate import Gate
from .open_inference import inference_pb2 as oip
from .open_inference.health import Probes
from .open_inference.service import InferenceService
from .registry.registry import Registry
from .rpc.authentication import AuthenticationInterceptor
from .rpc.call import Call, UnaryHandlers, bidirectional, parsed
from .rpc.call_executor import CallExecutor
from .rpc.call_pool import CallPool
from .rpc.call_record import Method
from .rpc.health import Health
from .rpc.receive_timeout import ReceiveTimeout
from .rpc.reflection import REFLECTION_SERVICE
from .security.authenticator import Authenticator
from .service.classify import ClassifyService
from .service.models import ModelService
from .service.streaming.streams import Streams

CLASSIFY_SERVICE = pb.DESCRIPTOR.services_by_name["ClassifyService"].full_name
HEALTH_SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
INFERENCE_SERVICE = oip.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
MODEL_SERVICE = pb.DESCRIPTOR.services_by_name["ModelService"].full_name
FILES: tuple[Any, ...] = (pb, oip, health_pb2, reflection_pb2)
PROBES = ("ServerLive", "ServerReady", "ModelReady")
HEALTH_TIMEOUT_S = 10.0
"""How long a caller of a health service may take to send its message."""


def interceptors(config: ServerConfig, executor: CallExecutor) -> list[grpc.ServerInterceptor]:
    """The interceptors of all calls: authentication, where the config names callers."""
    if not config.callers:
        return []
    opened = []
    if config.open_health:
        opened += [HEALTH_SERVICE, *(f"{INFERENCE_SERVICE}/{name}" for name in PROBES)]
    if config.open_reflection:
        opened += [REFLECTION_SERVICE]
    return [AuthenticationInterceptor(Authenticator(config), opened, executor)]


def methods(files: Iterable[Any] = FILES) -> dict[str, Method]:
    """All methods of the services in these files, by path."""
    services = [each for file in files for each in file.DESCRIPTOR.services_by_name.values()]
    return {
        f"/{service.full_name}/{method.name}": Method(
            f"{service.full_name}/{method.name}", method.server_streaming
        )
        for service in services
        for method in service.methods
    }


def call_services(config: ServerConfig) -> tuple[str, ...]:
    """The names of the services that need models: all but health and reflection."""
    return (CLASSIFY_SERVICE, MODEL_SERVICE) + (INFERENCE_SERVICE,) * config.open_inference


def calls(
    registry: Registry, gate: Gate, pool: CallPool, streams: Streams, config: ServerConfig
) -> list[grpc.GenericRpcHandler]:
    """The handlers of the services that need models, for calls that run on `pool`."""
    classify = ClassifyService(registry, streams)
    models = ModelService(registry, config)
    inference = InferenceService(registry, streams, config)
    unary = UnaryHandlers(gate, pool, config.default_timeout_s).handler

    def computed(method: Any, request_type: Any) -> "grpc.RpcMethodHandler[bytes, bytes]":
        return unary(method, request_type, registry.reject_late)

    handlers = {
        CLASSIFY_SERVICE: {
            "Classify": computed(classify.classify, pb.ClassifyRequest),
            "BatchClassify": computed(classify.batch_classify, pb.BatchClassifyRequest),
            "StreamClassify": bidirectional(classify.stream_classify, gate),
            "Tokenize": unary(classify.tokenize, pb.TokenizeRequest),
            "Rank": computed(classify.rank, pb.RankRequest),
            "ZeroShotClassify": computed(classify.zero_shot_classify, pb.ZeroShotClassifyRequest),
        },
        MODEL_SERVICE: {
            "ListModels": unary(models.list_models, pb.ListModelsRequest),
            "GetModel": unary(models.get_model, pb.GetModelRequest),
            "GetServerInfo": unary(models.get_server_info, pb.GetServerInfoRequest),
        },
        INFERENCE_SERVICE: {
            "ServerMetadata": unary(inference.server_metadata, oip.ServerMetadataRequest),
            "ModelMetadata": unary(inference.model_metadata, oip.ModelMetadataRequest),
            "ModelInfer": computed(inference.model_infer, oip.ModelInferRequest),
            "ModelStreamInfer": bidirectional(inference.model_stream_infer, gate),
            "ModelConfig": unary(inference.model_config, oip.ModelConfigRequest),
            "ModelStatistics": unary(inference.model_statistics, oip.ModelStatisticsRequest),
            "RepositoryIndex": unary(inference.repository_index, oip.RepositoryIndexRequest),
        },
    }
    return [
        grpc.method_handlers_generic_handler(service, handlers[service])
        for service in call_services(config)
    ]


def health_calls(
    health: Health, threads: int, config: ServerConfig
) -> list[grpc.GenericRpcHandler]:
    """The handlers of the health services, for a pool with `threads` threads of its own.

    So other calls can't starve health checks, and they are answered while the server drains.
    """
    received = ReceiveTimeout(HEALTH_TIMEOUT_S, threads - 1)
    handlers = [_health(health, received)]
    if config.open_inference:
        handlers.append(_probes(health, received))
    return handlers


def _probes(health: Health, received: ReceiveTimeout) -> grpc.GenericRpcHandler:
    probes = Probes(health)

    def probe(answer: Any, request_type: Any) -> "grpc.RpcMethodHandler[bytes, bytes]":
        def handle(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
            raw = received.message(requests, context)
            response: bytes = answer(parsed(request_type, raw, context)).SerializeToString()
            return response

        return grpc.stream_unary_rpc_method_handler(handle)

    return grpc.method_handlers_generic_handler(
        INFERENCE_SERVICE,
        {
            "ServerLive": probe(probes.server_live, oip.ServerLiveRequest),
            "ServerReady": probe(probes.server_ready, oip.ServerReadyRequest),
            "ModelReady": probe(probes.model_ready, oip.ModelReadyRequest),
        },
    )


def _health(health: Health, received: ReceiveTimeout) -> grpc.GenericRpcHandler:
    def service_of(requests: Iterator[bytes], context: grpc.ServicerContext) -> str:
        raw = received.message(requests, context)
        return parsed(health_pb2.HealthCheckRequest, raw, context).service

    def check(requests: Iterator[bytes], context: grpc.ServicerContext) -> Any:
        status = health.status(service_of(requests, context))
        if status is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "there is no such service")
        return health_pb2.HealthCheckResponse(status=status)

    def watch(requests: Iterator[bytes], context: grpc.ServicerContext, send: Any) -> None:
        health.watch(service_of(requests, context), Call.of(context), send)

    # Without it each watcher would hold a thread. It is undocumented, but gRPC's own package
    # grpcio-health-checking relies on it.
    watch.experimental_non_blocking = True  # type: ignore[attr-defined]
    codec: Any = {"response_serializer": health_pb2.HealthCheckResponse.SerializeToString}
    return grpc.method_handlers_generic_handler(
        HEALTH_SERVICE,
        {
            "Check": grpc.stream_unary_rpc_method_handler(check, **codec),
            "Watch": grpc.stream_stream_rpc_method_handler(watch, **codec),
        },
    )

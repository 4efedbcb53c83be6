"""Every RPC of the port, and valid requests of each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from classwire.v1 import classwire_pb2 as pb
from classwire_server.open_inference import inference_pb2 as oip

FILES: Sequence[Any] = (
    pb.DESCRIPTOR,
    health_pb2.DESCRIPTOR,
    reflection_pb2.DESCRIPTOR,
    oip.DESCRIPTOR,
)


@dataclass(frozen=True)
class Rpc:
    """One RPC: its path, its message types, and which sides stream."""

    path: str
    request: type[Message]
    response: type[Message]
    takes_stream: bool
    gives_stream: bool

    @property
    def examples(self) -> list[Message]:
        """Requests that a server would answer."""
        return [message for message in EXAMPLES if isinstance(message, self.request)]

    @property
    def name(self) -> str:
        """Its short name."""
        return self.path.rsplit("/", 1)[1]


def _rpcs() -> Iterator[Rpc]:
    for file in FILES:
        for service in file.services_by_name.values():
            for method in service.methods:
                yield Rpc(
                    f"/{service.full_name}/{method.name}",
                    GetMessageClass(method.input_type),
                    GetMessageClass(method.output_type),
                    method.client_streaming,
                    method.server_streaming,
                )


RPCS = tuple(_rpcs())

_PAIR = pb.TextInput(text="I love it", text_pair="and so do you")
_ALL = pb.ClassifyOptions(
    top_k=2,
    min_score=0.25,
    activation=pb.ACTIVATION_SIGMOID,
    truncation=pb.TRUNCATION_DROP_END,
    include_logits=True,
    include_tokens=True,
    offset_unit=pb.OFFSET_UNIT_UTF16,
    priority=pb.PRIORITY_BULK,
)
_WINDOWS = pb.WindowOptions(
    window_tokens=16, overlap_tokens=4, aggregation=pb.WINDOW_AGGREGATION_MAX_SCORE
)
_IN_WINDOWS = pb.ClassifyOptions(
    truncation=pb.TRUNCATION_WINDOWS, windows=_WINDOWS, include_windows=True, include_logits=True
)
_LONG = pb.TextInput(text="I love it and so do you " * 8)
_CONFIG = pb.StreamConfig(
    options=_ALL, ordering=pb.ORDERING_IN_ORDER, item_timeout=Duration(seconds=20)
)
_ITEMS = pb.StreamItems(items=[pb.StreamItem(id=name, input=_PAIR) for name in "ab"])
ITEMS = pb.StreamClassifyRequest(items=_ITEMS)

_TEXT = oip.ModelInferRequest.InferInputTensor(
    name="text",
    datatype="BYTES",
    shape=[1],
    contents=oip.InferTensorContents(bytes_contents=[b"I love it"]),
)
_INFER = oip.ModelInferRequest(
    model_name="tiny",
    id="a",
    inputs=[_TEXT],
    outputs=[
        oip.ModelInferRequest.InferRequestedOutputTensor(
            name="scores", parameters={"classification": oip.InferParameter(int64_param=2)}
        )
    ],
    parameters={"priority": oip.InferParameter(uint64_param=2)},
)
_RAW = oip.ModelInferRequest(
    model_name="tiny",
    inputs=[oip.ModelInferRequest.InferInputTensor(name="text", datatype="BYTES", shape=[1, 1])],
    raw_input_contents=[b"\4\0\0\0good"],
    parameters={"timeout": oip.InferParameter(int64_param=20_000_000)},
)

EXAMPLES: Sequence[Message] = (
    pb.ClassifyRequest(input=pb.TextInput(text="I love it")),
    pb.ClassifyRequest(input=_PAIR, options=_ALL, model="tiny"),
    pb.BatchClassifyRequest(inputs=[_PAIR, pb.TextInput(text="book")], options=_ALL),
    pb.BatchClassifyRequest(),
    pb.StreamClassifyRequest(config=pb.StreamConfig()),
    pb.StreamClassifyRequest(config=_CONFIG),
    ITEMS,
    pb.BatchClassifyRequest(inputs=[_LONG, _PAIR], options=_IN_WINDOWS),
    pb.StreamClassifyRequest(config=pb.StreamConfig(options=_IN_WINDOWS)),
    pb.TokenizeRequest(input=_PAIR, truncation=pb.TRUNCATION_DROP_START),
    pb.TokenizeRequest(input=_LONG, truncation=pb.TRUNCATION_WINDOWS, windows=_WINDOWS),
    pb.RankRequest(
        query="love",
        documents=["I love it", "so do you", _LONG.text],
        options=pb.RankOptions(
            label="neutral", truncation=pb.TRUNCATION_WINDOWS, windows=_WINDOWS, top_k=2
        ),
    ),
    pb.ZeroShotClassifyRequest(
        text=_LONG.text,
        candidate_labels=["love", "hate"],
        options=pb.ZeroShotOptions(
            hypothesis_template="{}!",
            multi_label=True,
            truncation=pb.TRUNCATION_WINDOWS,
            windows=_WINDOWS,
        ),
    ),
    pb.ListModelsRequest(page_size=1),
    pb.GetModelRequest(name="tiny"),
    pb.GetServerInfoRequest(),
    _INFER,
    _RAW,
    oip.ServerLiveRequest(),
    oip.ServerReadyRequest(),
    oip.ModelReadyRequest(name="tiny", version="1"),
    oip.ServerMetadataRequest(),
    oip.ModelMetadataRequest(name="tiny"),
    oip.ModelConfigRequest(name="tiny"),
    oip.ModelStatisticsRequest(name="tiny"),
    oip.RepositoryIndexRequest(ready=True),
    health_pb2.HealthCheckRequest(service="classwire.model.tiny"),
    reflection_pb2.ServerReflectionRequest(list_services=""),
    reflection_pb2.ServerReflectionRequest(
        file_containing_symbol="classwire.v1.ClassifyService", host="localhost"
    ),
    reflection_pb2.ServerReflectionRequest(
        file_containing_extension=reflection_pb2.ExtensionRequest(
            containing_type="google.protobuf.Duration", extension_number=1
        )
    ),
)
"""Starting points of mutations; every kind of request has at least one."""

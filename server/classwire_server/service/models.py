"""ModelService: the models and their limits."""

from collections.abc import Mapping
from typing import Any

from classwire.contract.reasons import Reason
from classwire.v1 import classwire_pb2 as pb
from classwire_server import __version__
from classwire_server.checkpoint.loading import ProblemType
from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import RequestError
from classwire_server.registry.registry import Entry, ModelState, Registry, ServedModel
from classwire_server.rpc.call import Call
from classwire_server.rpc.status import duration

from .options import ACTIVATIONS, TRUNCATIONS
from .responses import PRECISIONS, engine, key_of
from .tasks import tasks_of

FEATURES = (
    *("classify", "batch_classify", "stream_classify", "tokenize", "text_pair"),
    *("windows", "rank", "zero_shot_classify"),
)
DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1_000
MAX_PAGE_BYTES = 2 << 20

STATES: Mapping[ModelState, Any] = {
    ModelState.LOADING: pb.MODEL_STATE_LOADING,
    ModelState.READY: pb.MODEL_STATE_READY,
    ModelState.FAILED: pb.MODEL_STATE_FAILED,
}
PROBLEM_TYPES: Mapping[ProblemType, Any] = {
    ProblemType.SINGLE_LABEL: pb.PROBLEM_TYPE_SINGLE_LABEL_CLASSIFICATION,
    ProblemType.MULTI_LABEL: pb.PROBLEM_TYPE_MULTI_LABEL_CLASSIFICATION,
    ProblemType.REGRESSION: pb.PROBLEM_TYPE_REGRESSION,
}


class ModelService:
    """The RPCs of ModelService, as functions on messages. Any thread may call them."""

    def __init__(self, registry: Registry, config: ServerConfig) -> None:
        self._registry = registry
        self._config = config

    def list_models(self, request: pb.ListModelsRequest, call: Call) -> pb.ListModelsResponse:
        """A page of models, the default first; a token is the last name of the page before."""
        if request.page_size > MAX_PAGE_SIZE:
            raise RequestError(
                Reason.BAD_OPTION,
                f"page_size is over {MAX_PAGE_SIZE}",
                field="page_size",
                metadata={"max_page_size": str(MAX_PAGE_SIZE)},
            )
        entries = self._registry.seen_by(call.caller).entries()
        start = 0
        if request.page_token:
            names = [entry.source.name for entry in entries]
            if request.page_token not in names:
                raise RequestError(
                    Reason.BAD_OPTION, "page_token is not the token of a page", field="page_token"
                )
            start = names.index(request.page_token) + 1
        response = pb.ListModelsResponse()
        for entry in entries[start : start + (request.page_size or DEFAULT_PAGE_SIZE)]:
            response.models.append(describe(entry))
            if response.ByteSize() > MAX_PAGE_BYTES:
                break
        end = start + len(response.models)
        if end < len(entries):
            response.next_page_token = entries[end - 1].source.name
        return response

    def get_model(self, request: pb.GetModelRequest, call: Call) -> pb.GetModelResponse:
        """One model."""
        entry = self._registry.seen_by(call.caller).entry(request.name, "name")
        return pb.GetModelResponse(model=describe(entry))

    def get_server_info(
        self, request: pb.GetServerInfoRequest, call: Call
    ) -> pb.GetServerInfoResponse:
        """The server itself."""
        config = self._config
        return pb.GetServerInfoResponse(
            version=__version__,
            features=FEATURES,
            limits=pb.ServerLimits(
                max_message_bytes=config.max_message_bytes,
                max_streams=config.max_streams,
                default_timeout=duration(config.default_timeout_s),
            ),
        )


def describe(entry: Entry) -> pb.Model:
    """The message for a model, as callers see it."""
    state, failure = entry.state()
    message = pb.Model(
        name=entry.source.name,
        is_default=entry.is_default,
        state=STATES[state],
        failure=failure,
        checkpoint=entry.source.public_location,
    )
    if entry.served is not None:
        _describe(message, entry.served)
    return message


def _describe(message: pb.Model, served: ServedModel) -> None:
    checkpoint, tokenization, limits = served.checkpoint, served.tokenization, served.limits
    traits, deviation = served.engine.traits, served.engine.deviation
    message.MergeFrom(
        pb.Model(
            revision=checkpoint.revision,
            architecture=checkpoint.architecture,
            labels=checkpoint.labels,
            problem_type=PROBLEM_TYPES[checkpoint.problem_type],
            activation=key_of(ACTIVATIONS, checkpoint.activation),
            max_tokens=tokenization.max_tokens,
            default_truncation=key_of(TRUNCATIONS, tokenization.default_truncation),
            device=traits.device,
            precision=PRECISIONS[traits.precision],
            engine=engine(traits),
            deviation=pb.Deviation(
                texts=deviation.texts,
                label_agreement=deviation.label_agreement,
                max_score_difference=deviation.max_score_difference,
            ),
            limits=pb.ModelLimits(
                max_texts_per_call=limits.max_texts_per_call,
                max_texts_per_call_with_tokens=limits.max_texts_per_call_with_tokens,
                max_text_bytes=limits.max_text_bytes,
                stream_window_items=limits.stream_window_items,
                stream_items_per_message=limits.stream_items_per_message,
                max_windows_per_text=limits.max_windows_per_text,
                max_windows_per_call=limits.max_windows_per_call,
                max_texts_per_call_with_windows=limits.max_texts_per_call_with_windows,
            ),
            fingerprint=checkpoint.fingerprint,
            tasks=tasks_of(served),
        )
    )

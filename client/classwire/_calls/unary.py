"""Every unary operation, as a generator that yields calls and receives their replies.

`Client` and `AsyncClient` differ only in how they wait, so both run these generators. They throw
in the error of a call once its retries (`steps.retried`) have failed.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping, Sequence
from typing import Any, Literal, TypeAlias, cast

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from classwire.contract.reasons import Reason
from classwire.errors import (
    ClasswireError,
    DeadlineExceededError,
    InternalError,
    InvalidInputError,
    MessageTooLargeError,
    OverloadedError,
    UnavailableError,
)
from classwire.results import (
    Classification,
    Model,
    ModelLimits,
    Outcome,
    ServerInfo,
    TextInput,
    Tokenization,
)
from classwire.v1 import classwire_pb2 as pb
from classwire.v1 import classwire_pb2_grpc as pb_grpc

from . import requests, responses
from .retry import is_retryable
from .steps import Again, Call, Steps

ServingStatus: TypeAlias = Literal["SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"]


class Stubs:
    """The stubs of one channel, of either kind."""

    def __init__(self, channel: grpc.Channel | grpc.aio.Channel) -> None:
        # The generated stubs are typed for one kind at a time; each client knows its own.
        self.classify: Any = pb_grpc.ClassifyServiceStub(cast(grpc.Channel, channel))
        self.models: Any = pb_grpc.ModelServiceStub(cast(grpc.Channel, channel))
        self.health: Any = health_pb2_grpc.HealthStub(cast(grpc.Channel, channel))

    def method(self, call: Call) -> Any:
        """The method that a call is to."""
        return getattr(getattr(self, call.service), call.method)


def classify(
    text: str | TextInput, text_pair: str | None, model: str | None, options: pb.ClassifyOptions
) -> Steps[Classification]:
    """Score one text."""
    request = pb.ClassifyRequest(
        input=requests.text_input(text, text_pair),
        model=requests.name(model, "model"),
        options=options,
    )
    response, request_id = yield Call("classify", "Classify", request)
    responses.check_windows(options, [response.result])
    return responses.classification(response.result, responses.Shared.of(response, request_id))


def classify_batch(
    texts: Iterable[str | TextInput],
    model: str | None,
    options: pb.ClassifyOptions,
    limits: MutableMapping[str, ModelLimits],
) -> Steps[list[Outcome]]:
    """Score texts in as few calls as the model's limits allow, one after the other.

    `limits` caches each model's limits from its first batch on.
    """
    name = requests.name(model, "model")
    outcomes: dict[int, Outcome] = {}
    inputs: list[tuple[int, pb.TextInput]] = []
    for given, text in enumerate(requests.elements(texts)):
        try:
            inputs.append((given, requests.element_input(text, f"inputs[{given}]")))
        except InvalidInputError as error:
            outcomes[given] = error
    if not inputs:
        return [outcomes[given] for given in range(len(outcomes))]
    known = limits.get(name) or (yield from describe(name)).limits
    most = len(inputs)  # unless the limits are known, which they are once the model is loaded
    if known is not None:
        limits[name] = known
        most = _texts_per_call(known, options)
    for batch in requests.batches(inputs, most, lambda each: each[1].ByteSize()):
        try:
            outcomes |= yield from _batch(batch, name, options)
        except ClasswireError as error:
            if error.reason == Reason.TOO_MANY_ITEMS:
                limits.pop(name, None)  # the limits have changed: the next batch asks again
            raise
    return [outcomes[given] for given in range(len(outcomes))]


def _texts_per_call(limits: ModelLimits, options: pb.ClassifyOptions) -> int:
    """How many texts with these options go in one call."""
    of_options = [limits.max_texts_per_call]
    if options.include_tokens:
        of_options.append(limits.max_texts_per_call_with_tokens)
    if options.include_windows and limits.max_texts_per_call_with_windows is not None:
        of_options.append(limits.max_texts_per_call_with_windows)
    return min(of_options)


def _batch(
    batch: Sequence[tuple[int, pb.TextInput]], model: str, options: pb.ClassifyOptions
) -> Steps[dict[int, Outcome]]:
    """Score texts in one call, and those with a retryable error in further calls."""
    outcomes: dict[int, Outcome] = {}
    while True:
        request = pb.BatchClassifyRequest(
            inputs=[message for _, message in batch], model=model, options=options
        )
        try:
            response, request_id = yield Call("classify", "BatchClassify", request)
        except MessageTooLargeError as too_large:
            if len(batch) > 1:
                raise
            return {**outcomes, batch[0][0]: too_large}  # the other texts are not to blame
        except (DeadlineExceededError, OverloadedError, UnavailableError):
            if outcomes:
                return outcomes  # better the errors of those texts than no outcome at all
            raise
        if len(response.outcomes) != len(batch):
            raise InternalError(
                "the server broke the contract: "
                f"{len(response.outcomes)} outcomes for {len(batch)} texts"
            )
        responses.check_windows(options, responses.classifications(response.outcomes))
        shared = responses.Shared.of(response, request_id)
        for sent, ((given, _), result) in enumerate(zip(batch, response.outcomes, strict=True)):
            outcomes[given] = responses.outcome(result, shared, index=(sent, given))
        rest = [each for each in batch if is_retryable(outcomes[each[0]])]
        progressed = len(rest) < len(batch)
        batch = rest
        errors = [
            error for given, _ in batch if isinstance(error := outcomes[given], ClasswireError)
        ]
        if not errors:
            return outcomes
        latest = max(errors, key=lambda error: error.retry_after_s or 0)
        if not (yield Again(latest, progressed)):
            return outcomes


def tokenize(
    text: str | TextInput, text_pair: str | None, model: str | None, options: pb.ClassifyOptions
) -> Steps[Tokenization]:
    """Ask for the tokens that the model would read."""
    request = pb.TokenizeRequest(
        input=requests.text_input(text, text_pair),
        model=requests.name(model, "model"),
        truncation=options.truncation,
        offset_unit=options.offset_unit,
        windows=options.windows if options.HasField("windows") else None,
    )
    response, request_id = yield Call("classify", "Tokenize", request)
    if request.HasField("windows") and response.tokens and not response.windows:
        raise responses.no_windows()
    return responses.tokenization(response, request_id)


def list_models() -> Steps[list[Model]]:
    """List all models, page after page."""
    found: list[Model] = []
    page_token = ""
    while True:
        response, _ = yield Call(
            "models", "ListModels", pb.ListModelsRequest(page_token=page_token)
        )
        found += map(responses.model, response.models)
        page_token = response.next_page_token
        if not page_token:
            return found


def describe(name: str | None) -> Steps[Model]:
    """Describe one model."""
    request = pb.GetModelRequest(name=requests.name(name, "name"))
    response, _ = yield Call("models", "GetModel", request)
    return responses.model(response.model)


def server_info() -> Steps[ServerInfo]:
    """Describe the server."""
    response, _ = yield Call("models", "GetServerInfo", pb.GetServerInfoRequest())
    return responses.server_info(response)


def health(service: str | None) -> Steps[ServingStatus]:
    """Ask for the health of a service."""
    request = health_pb2.HealthCheckRequest(service=requests.name(service, "service"))
    try:
        response, _ = yield Call("health", "Check", request)
    except ClasswireError as error:
        if error.code is grpc.StatusCode.NOT_FOUND:
            return "SERVICE_UNKNOWN"
        raise
    return serving_status(response)


def serving_status(response: health_pb2.HealthCheckResponse) -> ServingStatus:
    """The word for a health response."""
    if response.status == health_pb2.HealthCheckResponse.SERVING:
        return "SERVING"
    if response.status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN:
        return "SERVICE_UNKNOWN"
    return "NOT_SERVING"

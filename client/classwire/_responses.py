"""Protobuf messages to results."""

from __future__ import annotations

from collections.abc import Iterable

from . import _enums
from ._status import from_item_error, seconds_of
from .errors import InternalError
from .results import (
    Classification,
    Deviation,
    LabelScore,
    Model,
    ModelLimits,
    ModelRef,
    Outcome,
    ServerInfo,
    ServerLimits,
    Timing,
    Token,
    Tokenization,
)
from .v1 import classwire_pb2 as pb


def classification(result: pb.Classification, model: ModelRef, timing: Timing) -> Classification:
    """The scores of one text, with the model and timing that stand beside them on the wire."""
    return Classification(
        scores=tuple(LabelScore(s.label, s.label_id, s.score) for s in result.scores),
        activation=_enums.ACTIVATION.word(result.activation),
        token_count=result.token_count,
        truncated_tokens=result.truncated_tokens,
        logits=tuple(result.logits),
        tokens=tokens(result.tokens),
        model=model,
        timing=timing,
    )


def outcome(
    result: pb.Outcome, model: ModelRef, timing: Timing, *, index: tuple[int, int] | None = None
) -> Outcome:
    """What became of one text; `index` is its place in the request and in what the caller gave.

    The caller knows the texts by the second: a path of the server is given back with it.
    """
    which = result.WhichOneof("outcome")
    if which == "classification":
        return classification(result.classification, model, timing)
    if which is None:
        return InternalError(
            "the server broke the contract: an outcome is neither scores nor an error"
        )
    if index is None:
        return from_item_error(result.error)
    sent, given = index
    path = result.error.field
    prefix = f"inputs[{sent}]"
    if path.startswith(prefix):
        path = f"inputs[{given}]{path.removeprefix(prefix)}"
    return from_item_error(result.error, field=path)


def tokens(found: Iterable[pb.Token]) -> tuple[Token, ...]:
    """The positions of the model's input."""
    return tuple(
        Token(t.id, t.text, t.start, t.end, t.special, t.token_type_id, t.sequence_index)
        for t in found
    )


def tokenization(response: pb.TokenizeResponse) -> Tokenization:
    """What the model would see."""
    return Tokenization(
        tokens=tokens(response.tokens),
        attention_mask=tuple(response.attention_mask),
        truncated_tokens=response.truncated_tokens,
        model=model_ref(response.model),
    )


def model_ref(ref: pb.ModelRef) -> ModelRef:
    """What the numbers depend on."""
    return ModelRef(
        name=ref.name,
        fingerprint=ref.fingerprint,
        precision=_enums.PRECISION.word(ref.precision),
        execution=_enums.EXECUTION.word(ref.engine.execution),
        layout=_enums.LAYOUT.word(ref.engine.layout),
    )


def timing(spent: pb.Timing) -> Timing:
    """Where the time went."""
    return Timing(
        tokenize_us=spent.tokenize_us,
        queue_us=spent.queue_us,
        inference_us=spent.inference_us,
        total_us=spent.total_us,
        batch_texts=spent.batch_texts,
        batch_tokens=spent.batch_tokens,
        cached=spent.cached,
    )


def model(served: pb.Model) -> Model:
    """A model that is served."""
    deviation = None
    if served.HasField("deviation"):
        measured = served.deviation
        deviation = Deviation(
            measured.texts, measured.label_agreement, measured.max_score_difference
        )
    return Model(
        name=served.name,
        is_default=served.is_default,
        state=_enums.MODEL_STATE.word(served.state),
        failure=served.failure,
        checkpoint=served.checkpoint,
        revision=served.revision,
        architecture=served.architecture,
        labels=tuple(served.labels),
        problem_type=_enums.PROBLEM_TYPE.word(served.problem_type),
        activation=_enums.ACTIVATION.word(served.activation),
        max_tokens=served.max_tokens,
        default_truncation=_enums.TRUNCATION.word(served.default_truncation),
        device=served.device,
        precision=_enums.PRECISION.word(served.precision),
        execution=_enums.EXECUTION.word(served.engine.execution),
        layout=_enums.LAYOUT.word(served.engine.layout),
        deviation=deviation,
        limits=ModelLimits(
            max_texts_per_call=served.limits.max_texts_per_call,
            max_texts_per_call_with_tokens=served.limits.max_texts_per_call_with_tokens,
            max_text_bytes=served.limits.max_text_bytes,
            stream_window_items=served.limits.stream_window_items,
            stream_items_per_message=served.limits.stream_items_per_message,
        ),
        fingerprint=served.fingerprint,
    )


def server_info(response: pb.GetServerInfoResponse) -> ServerInfo:
    """The server itself."""
    return ServerInfo(
        version=response.version,
        features=tuple(response.features),
        limits=ServerLimits(
            max_message_bytes=response.limits.max_message_bytes,
            max_streams=response.limits.max_streams,
            default_timeout_s=seconds_of(response.limits.default_timeout),
        ),
    )

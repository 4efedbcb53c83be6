"""Results from protobuf messages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from classwire.contract.reasons import Reason
from classwire.errors import ClasswireError, InternalError, InvalidInputError
from classwire.results import (
    Classification,
    Deviation,
    LabelScore,
    Model,
    ModelLimits,
    ModelRef,
    Outcome,
    ServerInfo,
    ServerLimits,
    TextWindow,
    Timing,
    Token,
    Tokenization,
)
from classwire.v1 import classwire_pb2 as pb

from . import enums
from .status import from_item_error, seconds_of

_UNSPECIFIED = "unspecified"
_OF_MESSAGE = re.compile(r"^items\.items\[\d+\]\.")
"""The path to an item of a stream: the caller does not know which message it was in."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What the texts of one response have in common."""

    model: ModelRef
    timing: Timing
    request_id: str | None = None

    @classmethod
    def of(
        cls,
        response: (
            pb.ClassifyResponse
            | pb.BatchClassifyResponse
            | pb.StreamResults
            | pb.RankResponse
            | pb.ZeroShotClassifyResponse
        ),
        request_id: str | None = None,
    ) -> Shared:
        """That of a response."""
        return cls(model_ref(response.model), timing(response.timing), request_id)


def classification(result: pb.Classification, shared: Shared) -> Classification:
    """The scores of one text."""
    return Classification(
        scores=tuple(LabelScore(s.label, s.label_id, s.score) for s in result.scores),
        activation=enums.ACTIVATION.word(result.activation) or _UNSPECIFIED,
        token_count=result.token_count,
        truncated_tokens=result.truncated_tokens,
        logits=tuple(result.logits),
        tokens=tokens(result.tokens),
        model=shared.model,
        timing=shared.timing,
        request_id=shared.request_id,
        windows=text_windows(result.windows),
        window_count=result.window_count,
        aggregation=enums.WINDOW_AGGREGATION.word(result.aggregation),
    )


def check_windows(options: pb.ClassifyOptions, results: Iterable[pb.Classification]) -> None:
    """Raise InvalidInputError if the server is too old for these options of windows.

    It ignores them, and counts no windows.
    """
    is_given = options.include_windows or options.HasField("windows")
    if is_given and any(not result.window_count for result in results):
        raise no_windows()


def classifications(outcomes: Iterable[pb.Outcome]) -> Iterator[pb.Classification]:
    """Those among the outcomes that are no errors."""
    return (each.classification for each in outcomes if each.HasField("classification"))


def no_windows() -> InvalidInputError:
    """The error for options of windows that the server is too old for."""
    return InvalidInputError(
        "the server is older than this client: it does not know windows",
        reason=Reason.BAD_OPTION,
        field="options.windows",
    )


def outcome(result: pb.Outcome, shared: Shared, *, index: tuple[int, int] | None = None) -> Outcome:
    """The outcome of one text; `index` is its position in the request and in the caller's list.

    A path in the server's error names the first; the error that the caller gets names the second.
    In a stream it names neither: the result has the id.
    """
    which = result.WhichOneof("outcome")
    if which == "classification":
        return classification(result.classification, shared)
    if which is None:
        error: ClasswireError = InternalError(
            "the server broke the contract: an outcome is neither scores nor an error"
        )
    else:
        error = from_item_error(result.error)
    error.request_id = shared.request_id
    if index is not None and error.field is not None:
        sent, given = (f"inputs[{position}]" for position in index)
        if error.field.startswith(sent):
            error.field = given + error.field.removeprefix(sent)
    elif error.field is not None:
        error.field = _OF_MESSAGE.sub("", error.field)
    return error


def tokens(found: Iterable[pb.Token]) -> tuple[Token, ...]:
    """The tokens of the model's input."""
    return tuple(
        Token(t.id, t.text, t.start, t.end, t.special, t.token_type_id, t.sequence_index)
        for t in found
    )


def text_windows(found: Iterable[pb.TextWindow]) -> tuple[TextWindow, ...]:
    """The windows of a text."""
    return tuple(
        TextWindow(w.start, w.end, w.sequence_index, w.token_count, tuple(w.scores)) for w in found
    )


def tokenization(response: pb.TokenizeResponse, request_id: str | None) -> Tokenization:
    """The tokens that the model would read."""
    return Tokenization(
        tokens=tokens(response.tokens),
        attention_mask=tuple(response.attention_mask),
        truncated_tokens=response.truncated_tokens,
        model=model_ref(response.model),
        request_id=request_id,
        windows=text_windows(response.windows),
    )


def model_ref(ref: pb.ModelRef) -> ModelRef:
    """What scores depend on."""
    return ModelRef(
        name=ref.name,
        fingerprint=ref.fingerprint,
        precision=enums.PRECISION.word(ref.precision) or _UNSPECIFIED,
        execution=enums.EXECUTION.word(ref.engine.execution) or _UNSPECIFIED,
        layout=enums.LAYOUT.word(ref.engine.layout) or _UNSPECIFIED,
    )


def timing(spent: pb.Timing) -> Timing:
    """How long each stage took."""
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
    """A model of the server."""
    deviation = None
    if served.HasField("deviation"):
        measured = served.deviation
        deviation = Deviation(
            measured.texts, measured.label_agreement, measured.max_score_difference
        )
    return Model(
        name=served.name,
        is_default=served.is_default,
        state=enums.MODEL_STATE.word(served.state) or _UNSPECIFIED,
        failure=served.failure or None,
        checkpoint=served.checkpoint,
        revision=served.revision or None,
        architecture=served.architecture or None,
        labels=tuple(served.labels),
        problem_type=enums.PROBLEM_TYPE.word(served.problem_type),
        activation=enums.ACTIVATION.word(served.activation),
        max_tokens=served.max_tokens or None,
        default_truncation=enums.TRUNCATION.word(served.default_truncation),
        device=served.device or None,
        precision=enums.PRECISION.word(served.precision),
        execution=enums.EXECUTION.word(served.engine.execution),
        layout=enums.LAYOUT.word(served.engine.layout),
        deviation=deviation,
        limits=_model_limits(served.limits) if served.HasField("limits") else None,
        fingerprint=served.fingerprint or None,
        tasks=tuple(served.tasks),
    )


def _model_limits(limits: pb.ModelLimits) -> ModelLimits:
    return ModelLimits(
        max_texts_per_call=limits.max_texts_per_call,
        max_texts_per_call_with_tokens=limits.max_texts_per_call_with_tokens,
        max_text_bytes=limits.max_text_bytes,
        stream_window_items=limits.stream_window_items,
        stream_items_per_message=limits.stream_items_per_message,
        max_windows_per_text=limits.max_windows_per_text or None,
        max_windows_per_call=limits.max_windows_per_call or None,
        max_texts_per_call_with_windows=limits.max_texts_per_call_with_windows or None,
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

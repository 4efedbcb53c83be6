"""Ranking: documents in the order of their scores for a query."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Unpack

from . import _enums, _requests, _responses
from ._display import Result
from ._requests import Activation, Priority, Truncation
from ._status import from_item_error
from ._steps import Call, Steps, newer_call
from ._windows import WindowOptions
from .contract.reasons import Reason
from .errors import ClasswireError, InternalError, InvalidInputError
from .results import ModelRef, Timing
from .v1 import classwire_pb2 as pb


@dataclass(frozen=True, slots=True, repr=False)
class RankedDocument(Result):
    """The score of one document.

    Attributes:
        index: The document's position in `documents`, from 0.
        score: In the scale of the activation.
        token_count: Number of tokens that the model read, with query and special tokens; the sum
            over all windows.
        truncated_tokens: Number of tokens that were cut off; 0 if the model read the whole
            document.
        window_count: 1 for a document that fits or was cut.
    """

    index: int
    score: float
    token_count: int
    truncated_tokens: int
    window_count: int


@dataclass(frozen=True, slots=True, repr=False)
class FailedDocument(Result):
    """A document that cannot be scored.

    Attributes:
        index: The document's position in `documents`, from 0.
        error: Why it cannot be scored.
    """

    index: int
    error: ClasswireError


@dataclass(frozen=True, slots=True, repr=False)
class Ranking(Result):
    """The documents, highest score first; equal scores are in the order of the documents.

    Attributes:
        results: One for each document that `top_k` and `min_score` kept.
        failures: All documents without a score, in the order of the documents.
        model: What the scores depend on.
        timing: How long each stage took; each value is the largest over all documents.
        request_id: As in `Classification`.
    """

    results: tuple[RankedDocument, ...]
    failures: tuple[FailedDocument, ...]
    model: ModelRef
    timing: Timing = field(repr=False)
    request_id: str | None = field(default=None, compare=False, repr=False)


class RankOptions(WindowOptions, total=False):
    """The keyword arguments of `rank`.

    Attributes:
        top_k: Return only the `top_k` highest documents. Default: all.
        min_score: Return only documents with at least this score, in the scale of the activation.
            Default: all.
        label: The label whose score ranks. Default: the only one; a model with several needs it.
        activation: softmax, sigmoid or identity. Default: the model's own.
        truncation: For a document with too many tokens: reject, drop_end, drop_start or windows. It
            leaves the query whole. Default: the server's setting.
        priority: interactive (the default) goes before bulk.
        window_tokens: Largest window, in tokens. `WindowOptions` explains this and the next two.
        overlap_tokens: Tokens that neighbouring windows share.
        aggregation: mean_logits or max_score.
    """

    top_k: int | None
    min_score: float | None
    label: str | None
    activation: Activation | None
    truncation: Truncation | None
    priority: Priority | None


def rank_options(
    *,
    top_k: int | None = None,
    min_score: float | None = None,
    label: str | None = None,
    activation: Activation | None = None,
    truncation: Truncation | None = None,
    priority: Priority | None = None,
    **windows: Unpack[WindowOptions],
) -> pb.RankOptions:
    """The options of a rank call. InvalidInputError or TypeError names a wrong one."""
    _requests.check_names(windows, RankOptions.__optional_keys__, "rank")
    options = pb.RankOptions(
        min_score=min_score,
        label=_requests.name(label, "label"),
        activation=_enums.ACTIVATION.number(activation, "activation"),
        truncation=_enums.TRUNCATION.number(truncation, "truncation"),
        windows=_requests.window_options(**windows),
        priority=_enums.PRIORITY.number(priority, "priority"),
    )
    if top_k is not None:
        options.top_k = _requests.count(top_k, "top_k")
    return options


def rank(
    query: str, documents: Iterable[str], model: str | None, options: pb.RankOptions
) -> Steps[Ranking]:
    """Rank documents. One that is not text, or that UTF-8 cannot encode, fails alone, unsent."""
    request = pb.RankRequest(
        query=_requests.unicode(query, "query"),
        model=_requests.name(model, "model"),
        options=options,
    )
    places: list[int] = []  # of each document that is sent, in the caller's list
    failures: list[FailedDocument] = []
    for index, document in enumerate(_requests.elements(documents)):
        try:
            request.documents.append(_document(document, f"documents[{index}]"))
            places.append(index)
        except InvalidInputError as error:
            failures.append(FailedDocument(index, error))
    response, request_id = yield from newer_call(Call("classify", "Rank", request))
    if any(each.index >= len(places) for each in (*response.results, *response.failures)):
        raise InternalError("the server broke the contract: a result of no document")
    shared = _responses.Shared.of(response, request_id)
    failures += [_failure(failed, places[failed.index], shared) for failed in response.failures]
    return Ranking(
        results=tuple(
            RankedDocument(
                index=places[result.index],
                score=result.score,
                token_count=result.token_count,
                truncated_tokens=result.truncated_tokens,
                window_count=result.window_count,
            )
            for result in response.results
        ),
        failures=tuple(sorted(failures, key=lambda failed: failed.index)),
        model=shared.model,
        timing=shared.timing,
        request_id=shared.request_id,
    )


def _document(document: str, path: str) -> str:
    if not isinstance(document, str):
        raise InvalidInputError(
            f"{path} must be a str, not {type(document).__name__}",
            reason=Reason.BAD_ENCODING,
            field=path,
        )
    return _requests.unicode(document, path)


def _failure(failed: pb.FailedDocument, index: int, shared: _responses.Shared) -> FailedDocument:
    error = from_item_error(failed.error)
    error.request_id = shared.request_id
    if error.field is not None:
        error.field = error.field.replace(f"[{failed.index}]", f"[{index}]")
    return FailedDocument(index, error)

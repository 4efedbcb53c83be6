"""Ranking: documents in the order of their scores for a query."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

from classwire.contract.reasons import Reason
from classwire.errors import InternalError, InvalidInputError
from classwire.options import Activation, Priority, RankOptions, Truncation, WindowOptions
from classwire.results import FailedDocument, RankedDocument, Ranking
from classwire.v1 import classwire_pb2 as pb

from . import enums, requests, responses
from .status import from_item_error
from .steps import Call, Steps, newer_call


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
    requests.check_names(windows, RankOptions.__optional_keys__, "rank")
    return pb.RankOptions(
        top_k=requests.top_k_number(top_k),
        min_score=min_score,
        label=requests.name(label, "label"),
        activation=enums.ACTIVATION.number(activation, "activation"),
        truncation=enums.TRUNCATION.number(truncation, "truncation"),
        windows=requests.window_options(**windows),
        priority=enums.PRIORITY.number(priority, "priority"),
    )


def rank(
    query: str, documents: Iterable[str], model: str | None, options: pb.RankOptions
) -> Steps[Ranking]:
    """Rank documents. One that is not text, or that UTF-8 cannot encode, fails alone, unsent."""
    request = pb.RankRequest(
        query=requests.unicode(query, "query"),
        model=requests.name(model, "model"),
        options=options,
    )
    places: list[int] = []  # of each document that is sent, in the caller's list
    failures: list[FailedDocument] = []
    for index, document in enumerate(requests.elements(documents)):
        try:
            request.documents.append(_document(document, f"documents[{index}]"))
            places.append(index)
        except InvalidInputError as error:
            failures.append(FailedDocument(index, error))
    response, request_id = yield from newer_call(Call("classify", "Rank", request))
    if any(each.index >= len(places) for each in (*response.results, *response.failures)):
        raise InternalError("the server broke the contract: a result of no document")
    shared = responses.Shared.of(response, request_id)
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
    return requests.unicode(document, path)


def _failure(failed: pb.FailedDocument, index: int, shared: responses.Shared) -> FailedDocument:
    error = from_item_error(failed.error)
    error.request_id = shared.request_id
    if error.field is not None:
        error.field = error.field.replace(f"[{failed.index}]", f"[{index}]")
    return FailedDocument(index, error)

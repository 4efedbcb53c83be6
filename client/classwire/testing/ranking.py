"""Rank and ZeroShotClassify of the fake server."""

from __future__ import annotations

import grpc

from classwire.contract.reasons import Reason
from classwire.v1 import classwire_pb2 as pb

from .failures import CODES, Failure
from .script import Script

_LASTING = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL)
"""Codes of errors that no retry helps: only these fail a document alone."""


def rank(script: Script, request: pb.RankRequest, context: grpc.ServicerContext) -> pb.RankResponse:
    """Rank the documents by the answers to the pairs (query, document)."""
    if len(request.documents) > script.model.limits.max_texts_per_call:
        Failure(Reason.TOO_MANY_ITEMS).abort(context, "documents")
    failure = script.failure(request.query)
    if failure is not None:
        failure.abort(context, "query")
    response = pb.RankResponse()
    for index, document in enumerate(request.documents):
        failure = script.failure(document)
        if failure is None:
            score = _score(script, request, document, context)
            if not request.options.HasField("min_score") or score >= request.options.min_score:
                count = len(request.query.split()) + len(document.split())
                response.results.add(index=index, score=score, token_count=count, window_count=1)
        elif CODES[failure.reason] in _LASTING:
            error = failure.item_error(f"documents[{index}]")
            response.failures.add(index=index, error=error)
        else:
            failure.abort(context)
    response.results.sort(key=lambda result: (-result.score, result.index))
    del response.results[request.options.top_k or len(response.results) :]
    return response


def zero_shot(
    script: Script, request: pb.ZeroShotClassifyRequest, context: grpc.ServicerContext
) -> pb.ZeroShotClassification:
    """Score each candidate by the answer to the pair (text, hypothesis)."""
    if not request.candidate_labels:
        Failure(Reason.BAD_OPTION).abort(context, "candidate_labels")
    if len(request.candidate_labels) > script.model.limits.max_texts_per_call:
        Failure(Reason.TOO_MANY_ITEMS).abort(context, "candidate_labels")
    failure = script.failure(request.text)
    if failure is not None:
        failure.abort(context, "text")
    result = pb.ZeroShotClassification(window_count=1)
    template = request.options.hypothesis_template or "This example is {}."
    for index, candidate in enumerate(request.candidate_labels):
        hypothesis = template.replace("{}", candidate)
        scores = script.answer(request.text, hypothesis)
        entailed = [score for label, score in scores.items() if label.lower().startswith("entail")]
        if not entailed:
            Failure(Reason.UNSUITABLE_MODEL).abort(context, "model")
        if not request.options.HasField("min_score") or entailed[0] >= request.options.min_score:
            result.scores.add(label=candidate, index=index, score=entailed[0])
        result.token_count += len(request.text.split()) + len(hypothesis.split())
    result.scores.sort(key=lambda score: (-score.score, score.index))
    del result.scores[request.options.top_k or len(result.scores) :]
    return result


def _score(
    script: Script, request: pb.RankRequest, document: str, context: grpc.ServicerContext
) -> float:
    """The score of the label that ranks: the named one, or the only one."""
    scores = script.answer(request.query, document)
    label = request.options.label or (next(iter(scores)) if len(scores) == 1 else "")
    if label not in scores:
        Failure(Reason.BAD_OPTION).abort(context, "options.label")
    return scores[label]

"""Rank: documents ordered by the score of each with a query."""

from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Self

import numpy as np

from classwire.contract.reasons import CODES
from classwire.v1 import classwire_pb2 as pb
from classwire_server.errors import BadLogits, RequestError
from classwire_server.registry.registry import ServedModel
from classwire_server.rpc.call import Call
from classwire_server.rpc.status import item_error, request_error
from classwire_server.scheduling.batch import Priority
from classwire_server.scoring import Activation, best
from classwire_server.tokenization import Fit, PairTemplate, Text, Tokenized
from classwire_server.windows import Aggregation

from .answers import answers_of, count, traits_of
from .items import Item, run
from .options import (
    ACTIVATIONS,
    PRIORITIES,
    bad_option,
    parse_aggregation,
    parse_enum,
    parse_fit,
    parse_min_score,
)
from .requests import (
    TEXTS_AT_ONCE,
    check_size,
    check_string,
    string_or_error,
    too_many_windows,
    windows_of,
)
from .responses import model_ref, timing_of
from .tasks import pairs_of

HOPELESS = ("INVALID_ARGUMENT", "INTERNAL")
"""Codes of errors that no retry mends: a document with one of them fails alone."""


@dataclass(frozen=True)
class RankOptions:
    """The options of a call, with every default filled in."""

    top_k: int
    min_score: float | None
    label_id: int
    activation: Activation
    fit: Fit
    aggregation: Aggregation
    priority: Priority

    @classmethod
    def parse(cls, options: pb.RankOptions, model: ServedModel) -> Self:
        """Check the options. Raises RequestError UNKNOWN_ENUM or BAD_OPTION, naming the field."""
        labels = model.checkpoint.labels
        if options.label and options.label not in labels:
            raise bad_option("options.label", "is no label of the model")
        if not options.label and len(labels) > 1:
            raise bad_option("options.label", f"is empty, and the model has {len(labels)} labels")
        activation = parse_enum(options.activation, ACTIVATIONS, "options.activation")
        if activation is Activation.SOFTMAX and len(labels) == 1:
            raise bad_option("options.activation", "is softmax, and the model has one label")
        activation = activation or model.checkpoint.activation
        return cls(
            options.top_k,
            parse_min_score(options, activation, "options"),
            labels.index(options.label) if options.label else 0,
            activation,
            parse_fit(options, model, "options."),
            parse_aggregation(options, Aggregation.MAX_SCORE, "options."),
            PRIORITIES.get(options.priority, Priority.INTERACTIVE),
        )


@dataclass(frozen=True, eq=False)
class RankRequest:
    """The pairs of a query with each document, of which only the document may be cut."""

    model: ServedModel
    options: RankOptions
    template: PairTemplate
    query: str
    documents: Sequence[str | RequestError]

    @classmethod
    def parse(cls, message: pb.RankRequest, model: ServedModel) -> Self:
        """Check a request. Raises RequestError; a bad document fails alone, in `encode`."""
        template, limits = pairs_of(model), model.limits
        options = RankOptions.parse(message.options, model)
        check_size(len(message.documents), limits.max_texts_per_call, "documents", "documents")
        check_string(message.query, limits.max_text_bytes, "query")
        documents = [
            string_or_error(document, limits.max_text_bytes, "text_pair")
            for document in message.documents
        ]
        return cls(model, options, template, message.query, documents)

    @property
    def priority(self) -> Priority:
        """Which work goes first."""
        return self.options.priority

    def encode(self) -> list[Tokenized]:
        """The input of each pair, or the error in its place.

        Raises RequestError TOO_MANY_ITEMS if they have more windows than a call may.
        """
        [query] = self.model.tokenization.encode_plain([self.query])
        if isinstance(query, Exception):
            raise query
        most, windows = self.model.limits.max_windows_per_call, 0
        outcomes: list[Tokenized] = []
        for start in range(0, len(self.documents), TEXTS_AT_ONCE):
            for outcome in self._encode(query, start):
                windows += windows_of(outcome)
                outcomes.append(outcome)
                if windows > most:
                    raise too_many_windows(windows, most, "documents", outcomes)
        return outcomes

    def _encode(self, query: Sequence[int], start: int) -> Iterator[Tokenized]:
        """The outcomes of the next documents; the first has the index `start`."""
        documents = self.documents[start : start + TEXTS_AT_ONCE]
        plain = iter(
            self.model.tokenization.encode_plain(
                [document for document in documents if isinstance(document, str)]
            )
        )
        for place, document in enumerate(documents, start):
            outcome: Tokenized
            if isinstance(document, str):
                outcome = self._pair(query, document, next(plain))
            else:
                outcome = document
            if isinstance(outcome, Exception):
                outcome = request_error(outcome)
                fields = {"text": "query", "text_pair": f"documents[{place}]"}
                outcome.field = fields.get(outcome.field, outcome.field)
            yield outcome

    def _pair(
        self, query: Sequence[int], document: str, ids: Sequence[int] | Exception
    ) -> Tokenized:
        if isinstance(ids, Exception):
            return ids
        pair = self.template.pair(query, ids, 1, Text(self.query, document))
        return self.model.tokenization.fit_pair(pair, self.options.fit)


def rank(request: RankRequest, call: Call) -> pb.RankResponse:
    """Score the documents and order them."""
    model, options = request.model, request.options
    items = run(request, call)
    response = pb.RankResponse()
    answered = [item for item in items if item.answer]
    if answered:
        _, values = answers_of(items, options.activation, options.aggregation)
        for item, is_bad in zip(answered, np.isnan(values).any(axis=1), strict=True):
            if is_bad:
                item.error = request_error(BadLogits())
        _write_results(response, items, values[:, options.label_id], options)
    count(model, items)
    for index, item in enumerate(items):
        if item.error is not None:
            response.failures.add(index=index, error=item_error(_failure(item)))
    response.model.CopyFrom(model_ref(model, traits_of(items)))
    response.timing.CopyFrom(timing_of(items))
    return response


def _write_results(
    response: pb.RankResponse, items: Sequence[Item], values: np.ndarray, options: RankOptions
) -> None:
    """Write the scored documents in order; `values` are of the items with an answer."""
    places = [place for place, item in enumerate(items) if item.answer]
    good = [number for number, place in enumerate(places) if items[place].error is None]
    for number in best(values[good], options.top_k, options.min_score):
        place = places[good[number]]
        item = items[place]
        response.results.add(
            index=place,
            score=values[good[number]],
            token_count=item.tokens,
            truncated_tokens=item.encoding.truncated_tokens,
            window_count=len(item.parts),
        )


def _failure(item: Item) -> RequestError:
    """The error of a document that fails alone. Raises any other error, which fails the call."""
    if isinstance(item.error, CancelledError):
        raise item.error
    error = request_error(item.error or ValueError("the document has no error"))
    if CODES[error.reason] not in HOPELESS:
        raise error
    return error

"""StreamClassify: both orders, bad items among good ones, and what ends a stream."""

from collections.abc import Mapping, Sequence
from typing import Any

from conformance.limits import STREAM_ITEMS_PER_MESSAGE, STREAM_WINDOW_ITEMS

from .calls import STREAM_CLASSIFY, message, text, vector
from .encoding import Json
from .problems import Problem, invalid
from .reference import Reference

Items = Sequence[tuple[str, Json]]
"""Ids and TextInputs of one message."""


def config(reference: Reference, **fields: Any) -> Json:
    """The first message of a stream."""
    return {"message": {"config": message(reference, **fields)}}


def items(*pairs: tuple[str, Json]) -> Json:
    """A message of items."""
    return {"message": {"items": {"items": [{"id": id_, "input": input} for id_, input in pairs]}}}


def started(reference: Reference) -> Json:
    """The first response of a stream."""
    return {
        "started": {
            "model": reference.ref,
            "windowItems": STREAM_WINDOW_ITEMS,
            "maxItemsPerMessage": STREAM_ITEMS_PER_MESSAGE,
        }
    }


def outcomes(reference: Reference, messages: Sequence[Items], options: Json) -> Json:
    """What becomes of each item."""
    return {
        id_: reference.outcome(input, options, f"items.items[{place}].input")
        for pairs in messages
        for place, (id_, input) in enumerate(pairs)
    }


def stream(
    name: str,
    reference: Reference,
    messages: Sequence[Items],
    options: Json | None = None,
    ordering: str = "",
    **keys: Any,
) -> Json:
    """A stream that is answered to its end."""
    results = outcomes(reference, messages, options or {})
    expect: Json = {"first_response": started(reference), "results": results}
    if ordering == "ORDERING_IN_ORDER":
        expect["order"] = list(results)
    requests = [config(reference, options=options, ordering=ordering)]
    requests += [items(*pairs) for pairs in messages]
    return vector(name, STREAM_CLASSIFY, expect, requests=requests, **keys)


def vectors(models: Mapping[str, Reference]) -> list[Json]:
    """The group `streams`."""
    stars, topics = models["stars-en"], models["topics"]
    good = [("a", text("I really love this book")), ("b", text("It fell apart at once."))]
    mixed = [("1", text("Very good")), ("2", text("  ")), ("3", text("Not good"))]
    return [
        stream("one item", stars, [good[:1]]),
        stream("in order, with a bad item", stars, [good, mixed], ordering="ORDERING_IN_ORDER"),
        stream("as completed, with a bad item", topics, [good, mixed], {"topK": 1}),
    ]


def broken(
    name: str,
    requests: Sequence[Json],
    problem: Problem,
    *,
    first: Json | None = None,
    results: Json | None = None,
    **keys: Any,
) -> Json:
    """A stream that ends with an error, after the answers to what was read."""
    expect: Json = {"error": problem.status()}
    if first is not None:
        expect |= {"first_response": first, "results": results or {}}
    return vector(name, STREAM_CLASSIFY, expect, requests=list(requests), **keys)


def ending_vectors(models: Mapping[str, Reference]) -> list[Json]:
    """The group `stream-errors`."""
    stars = models["stars-en"]
    good: Items = [("a", text("I really love this book"))]
    return [
        broken("items before the config", [items(*good)], invalid("BAD_STREAM_START", "config")),
        broken(
            "an id twice",
            [config(stars), items(*good, *good)],
            invalid("BAD_ID", "items.items[1].id"),
            first=started(stars),
            results=outcomes(stars, [good], {}),
        ),
    ]

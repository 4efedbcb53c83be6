"""Vectors for streams that end with OK: both orders, bad items among good ones."""

from collections.abc import Mapping, Sequence
from typing import Any

from conformance.limits import STREAM_ITEMS_PER_MESSAGE, STREAM_WINDOW_ITEMS

from . import texts
from .calls import STREAM_CLASSIFY, message, text, vector
from .encoding import Json
from .reference import Reference

Items = Sequence[tuple[str, Json]]
"""Ids and TextInputs of one message."""


def config(reference: Reference, **fields: Any) -> Json:
    """Return the first message of a stream."""
    return {"message": {"config": message(reference, **fields)}}


def items(*pairs: tuple[str, Json]) -> Json:
    """Return a message of items."""
    return {"message": {"items": {"items": [{"id": id_, "input": input} for id_, input in pairs]}}}


def started(reference: Reference) -> Json:
    """Return the first response of a stream."""
    return {
        "started": {
            "model": reference.ref,
            "windowItems": STREAM_WINDOW_ITEMS,
            "maxItemsPerMessage": STREAM_ITEMS_PER_MESSAGE,
        }
    }


def outcomes(reference: Reference, messages: Sequence[Items], options: Json) -> Json:
    """Return the outcome of each item, by id."""
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
    item_timeout: str = "",
    **keys: Any,
) -> Json:
    """Return a vector of a stream that ends with OK."""
    results = outcomes(reference, messages, options or {})
    expect: Json = {"first_response": started(reference), "results": results}
    if ordering == "ORDERING_IN_ORDER":
        expect["order"] = list(results)
    first = config(reference, options=options, ordering=ordering, itemTimeout=item_timeout)
    requests = [first, *(items(*pairs) for pairs in messages)]
    return vector(name, STREAM_CLASSIFY, expect, requests=requests, **keys)


def vectors(models: Mapping[str, Reference]) -> list[Json]:
    """The group `streams`."""
    stars, topics = models["stars-en"], models["topics"]
    good: Items = [("a", text("I really love this book")), ("b", text("It fell apart at once."))]
    mixed: Items = [
        ("1", text("Very good")),
        ("2", text("  ")),
        ("3", text("Not good")),
        ("4", text(texts.words(40))),
        ("5", text("x" * 2_049)),
        ("6", {}),
    ]
    many = [
        [(f"{n}-{place}", text(texts.words(place + 1, start=n))) for place in range(8)]
        for n in range(5)
    ]
    same = [[(f"{n}{place}", text("Always the same")) for place in range(4)] for n in "xyz"]
    scripts = [
        (name, text(value)) for name, value in list(texts.UNICODE.items())[: 2 * len(good) + 4]
    ]
    ids: Items = [
        ("x" * 128, text("one")),
        ("\u4e66" * 42, text("two")),
        ("\U0001f600", text("three")),
        ("a b\n\u0000", text("four")),
        ("0", text("five")),
    ]
    pairs: Items = [
        ("first", text("The hotel was clean", "The room was good")),
        ("second", text("good", "")),
        ("third", text("good")),
    ]
    everything = {
        "topK": 2,
        "activation": "ACTIVATION_SIGMOID",
        "includeLogits": True,
        "includeTokens": True,
        "offsetUnit": "OFFSET_UNIT_UTF16",
        "truncation": "TRUNCATION_DROP_END",
    }
    vectors = [
        stream("no item", stars, []),
        stream("one item", stars, [good[:1]]),
        stream("an empty message of items", stars, [[]]),
        stream("empty messages between others", stars, [[], good[:1], [], good[1:], []]),
    ]
    for ordering, how in (
        ("", "as completed"),
        ("ORDERING_AS_COMPLETED", "as completed, said"),
        ("ORDERING_IN_ORDER", "in order"),
    ):
        vectors += [
            stream(f"bad items among good ones, {how}", topics, [good, mixed], ordering=ordering),
            stream(f"many items, {how}", stars, many, {"topK": 1}, ordering),
            stream(f"the same text again and again, {how}", stars, same, {"topK": 1}, ordering),
        ]
    vectors += [
        stream("bad items only", topics, [[mixed[1]], mixed[4:]]),
        stream("several scripts", stars, [scripts], ordering="ORDERING_IN_ORDER"),
        stream("ids of every sort", stars, [ids], {"topK": 1}, "ORDERING_IN_ORDER"),
        stream("pairs", models["entailment"], [pairs], ordering="ORDERING_IN_ORDER"),
        stream("options", topics, [good, mixed], everything, "ORDERING_IN_ORDER"),
        stream("an empty list of scores", stars, [good], {"minScore": 1}),
        stream("interactive", stars, [good], {"priority": "PRIORITY_INTERACTIVE"}),
        stream("a priority of a later contract", stars, [good], {"priority": 99}),
        stream("a timeout that is long", stars, [good], item_timeout="3600s"),
        stream("the longest timeout", stars, [good], item_timeout="315576000000s"),
        *(stream(f"the model {name}", model, [good]) for name, model in models.items()),
    ]
    return vectors

"""Vectors for streams that end with an error, and their answers before it."""

from collections.abc import Mapping, Sequence
from typing import Any

from conformance.limits import STREAM_ITEMS_PER_MESSAGE

from .calls import STREAM_CLASSIFY, text, vector
from .encoding import Json
from .problems import BAD_ENCODING, Problem, invalid, unknown_model
from .reference import Reference
from .streams import Items, config, items, outcomes, started
from .wire import NO_MESSAGE, NOT_UTF8, base64_of, field, text_input


def broken(
    name: str,
    requests: Sequence[Json],
    problem: Problem,
    first: Json | None = None,
    results: Json | None = None,
    **keys: Any,
) -> Json:
    """Return a vector of a stream that answers the items it read and ends with an error."""
    expect: Json = {"error": problem.status()}
    if first is not None:
        expect |= {"first_response": first, "results": results or {}}
    return vector(name, STREAM_CLASSIFY, expect, requests=list(requests), **keys)


def vectors(models: Mapping[str, Reference]) -> list[Json]:
    """The group `stream-errors`."""
    return [*_bad_starts(models["stars-en"]), *_bad_middles(models["stars-en"])]


def _bad_starts(stars: Reference) -> list[Json]:
    """Return vectors of streams that never start."""
    love = ("a", text("I really love this book"))
    bad_configs: dict[str, tuple[Json, Problem]] = {
        "an unknown model": ({"model": "no-such-model"}, unknown_model("config.model")),
        "an unknown ordering": (
            {"ordering": 9},
            invalid("UNKNOWN_ENUM", "config.ordering", value=9),
        ),
        "an unknown activation": (
            {"options": {"activation": 77}},
            invalid("UNKNOWN_ENUM", "config.options.activation", value=77),
        ),
        "an unknown truncation": (
            {"options": {"truncation": 77}},
            invalid("UNKNOWN_ENUM", "config.options.truncation", value=77),
        ),
        "an unknown unit": (
            {"options": {"offsetUnit": 77}},
            invalid("UNKNOWN_ENUM", "config.options.offset_unit", value=77),
        ),
        "a least score that is no number": (
            {"options": {"minScore": "NaN"}},
            invalid("BAD_OPTION", "config.options.min_score"),
        ),
        "a timeout of 0": ({"itemTimeout": "0s"}, invalid("BAD_OPTION", "config.item_timeout")),
        "a negative timeout": (
            {"itemTimeout": "-1.500s"},
            invalid("BAD_OPTION", "config.item_timeout"),
        ),
    }
    no_config = invalid("BAD_STREAM_START", "config")
    return [
        broken("nothing at all", [], no_config),
        broken("items before a config", [items(love), config(stars)], no_config),
        broken("a message without an event", [{"message": {}}, items(love)], no_config),
        broken("bytes that are no message", [_raw(NO_MESSAGE)], BAD_ENCODING),
        broken("a model's name in Latin-1", [_raw(field(1, field(1, b"\xe9")))], BAD_ENCODING),
        *(
            broken(name, [{"message": {"config": fields}}, items(love)], problem)
            for name, (fields, problem) in bad_configs.items()
        ),
    ]


def _bad_middles(stars: Reference) -> list[Json]:
    """Return vectors of streams that fail after the start; they answer earlier items."""
    love, fine, late = (
        ("a", text("I really love this book")),
        ("b", text("Fine")),
        ("late", text("Too late")),
    )
    full: Items = [(str(place), text("one")) for place in range(STREAM_ITEMS_PER_MESSAGE + 1)]

    def ends(
        name: str, answered: Sequence[Items], last: Json, problem: Problem, **fields: Any
    ) -> Json:
        return broken(
            name,
            [config(stars, **fields), *(items(*pairs) for pairs in answered), last, items(late)],
            problem,
            started(stars),
            outcomes(stars, answered, {}),
        )

    def bad_id(name: str, *bad: str, place: int, **metadata: int) -> Json:
        """Return a vector of a message with a bad id; only the items before it get answers."""
        pairs = [(id_, text(f"number {n}")) for n, id_ in enumerate(bad)]
        vector = ends(
            name,
            [[love]],
            items(*pairs),
            invalid("BAD_ID", f"items.items[{place}].id", **metadata),
        )
        vector["expect"]["results"] |= outcomes(stars, [pairs[:place]], {})
        return vector

    too_many = invalid("TOO_MANY_ITEMS", "items.items", items=len(full), max_items=len(full) - 1)
    second = invalid("BAD_STREAM_START", "config")
    return [
        ends("a second config", [[love]], config(stars), second),
        ends("a second config at once", [], config(stars), second),
        ends("a message without an event behind the config", [[love]], {"message": {}}, second),
        ends("too many items in a message", [[love]], items(*full), too_many),
        bad_id("an empty id", "x", "", "y", place=1, bytes=0),
        bad_id("an id of 129 bytes", "x" * 129, place=0, bytes=129),
        bad_id("an id of 43 letters and 129 bytes", "\u4e66" * 43, place=0, bytes=129),
        bad_id("an id twice in a message", "x", "y", "x", "z", place=2),
        ends("bytes that are no message, later", [[love, fine]], _raw(NO_MESSAGE), BAD_ENCODING),
        *(
            ends(f"a text that is {name}", [[love]], _item(raw), BAD_ENCODING)
            for name, raw in NOT_UTF8.items()
        ),
        ends(
            "bytes that are no message, in order",
            [[love, ("blank", text(" "))], [fine]],
            _raw(NO_MESSAGE),
            BAD_ENCODING,
            ordering="ORDERING_IN_ORDER",
        ),
    ]


def _raw(raw: bytes) -> Json:
    return {"bytes": base64_of(raw)}


def _item(raw: bytes) -> Json:
    """Return a message with one item whose text is these bytes."""
    return _raw(field(2, field(1, field(1, b"x") + field(2, text_input(raw)))))

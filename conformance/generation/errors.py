"""Vectors for each error of the contract that `serving` can produce."""

from collections.abc import Mapping

from conformance.limits import MAX_MESSAGE_BYTES, MAX_TEXT_BYTES, MAX_TEXTS_PER_CALL

from . import texts
from .calls import (
    BATCH_CLASSIFY,
    CLASSIFY,
    GET_MODEL,
    GET_SERVER_INFO,
    LIST_MODELS,
    RANK,
    STREAM_CLASSIFY,
    TOKENIZE,
    ZERO_SHOT_CLASSIFY,
    classify,
    rejected,
    text,
    tokenize,
    vector,
)
from .encoding import Json
from .problems import BAD_ENCODING, invalid, unknown_model
from .reference import Reference
from .wire import NO_MESSAGE, NOT_UTF8, base64_of, field, text_input

GOOD = text("It was good")
INPUTS: dict[str, Json] = {
    CLASSIFY: {"input": GOOD},
    BATCH_CLASSIFY: {"inputs": [GOOD]},
    TOKENIZE: {"input": GOOD},
}
METHODS = (
    *(CLASSIFY, BATCH_CLASSIFY, TOKENIZE, RANK, ZERO_SHOT_CLASSIFY),
    *(LIST_MODELS, GET_MODEL, GET_SERVER_INFO),
)


def vectors(models: Mapping[str, Reference]) -> list[Json]:
    """The group `errors`."""
    return [*_bad_texts(models), *_bad_options(), *_bad_bytes(), *_bad_sizes(), *_unknown_models()]


def _bad_texts(models: Mapping[str, Reference]) -> list[Json]:
    stars, topics = models["stars-en"], models["topics"]
    bad = {
        "no text": {},
        "an empty text": text(""),
        **{f"blank, {name}": text(value) for name, value in texts.BLANK.items()},
        "one byte too many": text("x" * (MAX_TEXT_BYTES + 1)),
        "one character too many": text("\u4e66" * (MAX_TEXT_BYTES // 3 + 1)),
    }
    return [
        rejected("no input", CLASSIFY, invalid("EMPTY_TEXT", "input.text"), request={}),
        rejected("no input to tokenize", TOKENIZE, invalid("EMPTY_TEXT", "input.text"), request={}),
        *(classify(name, stars, input) for name, input in bad.items()),
        *(tokenize(f"{name}, to tokenize", stars, input) for name, input in bad.items()),
        classify("too many tokens", topics, text(texts.words(40))),
        tokenize("too many tokens to tokenize", topics, text(texts.words(40))),
        classify("as many bytes as may be", stars, text("x" * MAX_TEXT_BYTES)),
    ]


def _bad_options() -> list[Json]:
    enums = {"activation": "activation", "truncation": "truncation", "offsetUnit": "offset_unit"}
    bad = {"no number": "NaN", "no bound": "-Infinity", "below 0": -0.01, "above 1": 1.01}
    vectors = []
    for rpc in (CLASSIFY, BATCH_CLASSIFY):
        method = rpc.rpartition("/")[2]
        for key, name in enums.items():
            problem = invalid("UNKNOWN_ENUM", f"options.{name}", value=42)
            request = {**INPUTS[rpc], "options": {key: 42}}
            vectors.append(rejected(f"{method}, unknown {name}", rpc, problem, request=request))
        for what, value in bad.items():
            problem = invalid("BAD_OPTION", "options.min_score")
            request = {**INPUTS[rpc], "options": {"minScore": value}}
            name = f"{method}, a least score that is {what}"
            vectors.append(rejected(name, rpc, problem, request=request))
    for key in ("truncation", "offsetUnit"):
        problem = invalid("UNKNOWN_ENUM", enums[key], value=-1)
        request = {**INPUTS[TOKENIZE], key: -1}
        vectors.append(
            rejected(f"Tokenize, unknown {enums[key]}", TOKENIZE, problem, request=request)
        )
    vectors += [
        rejected(
            f"a least number that is {what}",
            CLASSIFY,
            invalid("BAD_OPTION", "options.min_score"),
            request={"model": "rating", "input": GOOD, "options": {"minScore": value}},
        )
        for what, value in (("no number", "NaN"), ("no bound", "Infinity"))
    ]
    vectors += [
        rejected(
            "a page that is too large",
            LIST_MODELS,
            invalid("BAD_OPTION", "page_size", max_page_size=1_000),
            request={"pageSize": 1_001},
        ),
        rejected(
            "a token of no page",
            LIST_MODELS,
            invalid("BAD_OPTION", "page_token"),
            request={"pageToken": "no-such-page"},
        ),
    ]
    return vectors


def _bad_bytes() -> list[Json]:
    """Return vectors of invalid UTF-8 and invalid messages, as some languages send them."""
    vectors = [
        _encoded(f"{rpc.rpartition('/')[2]}, no message", rpc, NO_MESSAGE) for rpc in METHODS
    ]
    for name, raw in NOT_UTF8.items():
        vectors += [
            _encoded(f"Classify, {name}", CLASSIFY, field(1, text_input(raw))),
            _encoded(f"BatchClassify, {name}", BATCH_CLASSIFY, field(1, text_input(raw))),
            _encoded(f"Tokenize, {name}", TOKENIZE, field(1, text_input(raw))),
        ]
    vectors += [
        _encoded(
            "Latin-1 in a second text", CLASSIFY, field(1, text_input(b"x") + field(2, b"\xe9"))
        ),
        _encoded("Latin-1 in a model's name", GET_MODEL, field(1, b"\xe9")),
        _encoded("a message that is cut off", CLASSIFY, field(1, text_input(b"good"))[:-1]),
    ]
    return vectors


def _encoded(name: str, rpc: str, raw: bytes) -> Json:
    return rejected(name, rpc, BAD_ENCODING, request_bytes=base64_of(raw))


def _bad_sizes() -> list[Json]:
    count = MAX_TEXTS_PER_CALL + 1
    too_many = invalid("TOO_MANY_ITEMS", "inputs", items=count, max_items=MAX_TEXTS_PER_CALL)
    too_large = {"error": {"code": "RESOURCE_EXHAUSTED"}}
    inputs = [text("x" * 2_000)] * (MAX_MESSAGE_BYTES // 2_000 + 1)
    items = [{"id": str(place), "input": input} for place, input in enumerate(inputs)]
    return [
        rejected("too many texts", BATCH_CLASSIFY, too_many, request={"inputs": [GOOD] * count}),
        rejected(
            "too many texts, with tokens",
            BATCH_CLASSIFY,
            too_many,
            request={"inputs": [GOOD] * count, "options": {"includeTokens": True}},
        ),
        vector("a message too large", BATCH_CLASSIFY, too_large, request={"inputs": inputs}),
        vector(
            "a message of a stream too large",
            STREAM_CLASSIFY,
            too_large,
            requests=[{"message": {"config": {}}}, {"message": {"items": {"items": items}}}],
        ),
    ]


def _unknown_models() -> list[Json]:
    names = ("no-such-model", "Stars-EN", "stars-en ", "\u661f")
    return [
        *(
            rejected(f"{rpc.rpartition('/')[2]}, no model {name!r}", rpc, unknown_model("model"),
                    request={**input, "model": name})
            for rpc, input in INPUTS.items()
            for name in names
        ),
        *(
            rejected(f"GetModel, no model {name!r}", GET_MODEL, unknown_model("name"),
                    request={"name": name})
            for name in names
        ),
    ]  # fmt: skip

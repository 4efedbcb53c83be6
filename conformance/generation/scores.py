"""Vectors for scores: texts, each option, each activation, pairs, truncation."""

import itertools
from collections.abc import Mapping

from . import texts
from .calls import batch, classify, text, tokenize
from .encoding import Json
from .reference import Reference

Models = Mapping[str, Reference]

UNITS = ("OFFSET_UNIT_UNICODE", "OFFSET_UNIT_UTF8", "OFFSET_UNIT_UTF16")
ACTIVATIONS = ("ACTIVATION_SOFTMAX", "ACTIVATION_SIGMOID", "ACTIVATION_IDENTITY")
DROPPING = ("TRUNCATION_DROP_END", "TRUNCATION_DROP_START")


def classify_vectors(models: Models) -> list[Json]:
    """The group `classify`: texts without options."""
    stars = models["stars-en"]
    plain = {**texts.PLAIN, **texts.LONG_WORDS, **texts.NEARLY_EMPTY}
    by_name = classify("the default model by its name", stars, text("It was good"))
    by_name["request"]["model"] = stars.name
    return [
        *(classify(name, stars, text(value)) for name, value in plain.items()),
        *(classify(name, stars, text(value)) for name, value in texts.UNICODE.items()),
        classify("many tokens", stars, text(texts.words(300))),
        by_name,
        *(
            classify(f"{name}, {first}", model, text(first))
            for name, model in models.items()
            if model is not stars
            for first in ("The book is good", "Terrible staff!")
        ),
    ]


def option_vectors(models: Models) -> list[Json]:
    """The group `options`: each option, and combinations."""
    stars, topics, rating = models["stars-en"], models["topics"], models["rating"]
    love, hotel = text("I really love this book"), text("The hotel was cold")
    cases: dict[str, Json] = {
        "the highest score": {"topK": 1},
        "the two highest": {"topK": 2},
        "as many as there are": {"topK": 5},
        "more than there are": {"topK": 6},
        "as many as fit into the field": {"topK": 4_294_967_295},
        "a least score": {"minScore": 0.1},
        "a least score of 0": {"minScore": 0},
        "a least score of 1": {"minScore": 1},
        "a least score that some of the highest miss": {"topK": 4, "minScore": 0.2},
        "a least score that none of the highest misses": {"topK": 1, "minScore": 0.2},
        "logits": {"includeLogits": True},
        "logits of all labels beside one score": {"includeLogits": True, "topK": 1},
        "tokens": {"includeTokens": True},
        "tokens and no score": {"includeTokens": True, "minScore": 1},
        "tokens and logits": {"includeTokens": True, "includeLogits": True},
        "a unit that nothing uses": {"offsetUnit": "OFFSET_UNIT_UTF16"},
        "interactive": {"priority": "PRIORITY_INTERACTIVE"},
        "bulk": {"priority": "PRIORITY_BULK"},
        "a priority of a later contract": {"priority": 99},
        "truncation of a text that is short": {"truncation": "TRUNCATION_DROP_START"},
        "everything": {
            "topK": 3,
            "minScore": 0.15,
            "activation": "ACTIVATION_SIGMOID",
            "truncation": "TRUNCATION_DROP_END",
            "includeLogits": True,
            "includeTokens": True,
            "offsetUnit": "OFFSET_UNIT_UTF8",
            "priority": "PRIORITY_BULK",
        },
    }
    emoji = text("Tr\u00e8s bien \U0001f600 indeed")
    return [
        *(classify(name, stars, love, options) for name, options in cases.items()),
        *(
            classify(f"multi-label, {name}", topics, hotel, options)
            for name, options in cases.items()
            if "score" in name or name == "everything"
        ),
        *(
            classify(f"tokens in {unit}", stars, emoji, {"includeTokens": True, "offsetUnit": unit})
            for unit in UNITS
        ),
        *(
            classify(f"a least number of {least}", rating, hotel, {"minScore": least})
            for least in (-50, 0, 50)
        ),
        batch("a batch's options", stars, [love, hotel], cases["everything"]),
        batch("a batch's least score", topics, [hotel, love], {"minScore": 0.6, "topK": 2}),
    ]


def activation_vectors(models: Models) -> list[Json]:
    """The group `activations`: each activation on every model, and the model's default."""
    vectors = [
        classify(
            f"{name}, {activation.removeprefix('ACTIVATION_').lower()}",
            model,
            text("The breakfast was good"),
            {"activation": activation, "includeLogits": True},
        )
        for name, model in models.items()
        for activation in ("ACTIVATION_UNSPECIFIED", *ACTIVATIONS)
    ]
    extremes = models["extremes"]
    vectors += [
        classify(
            f"extremes, the highest, {activation.removeprefix('ACTIVATION_').lower()}",
            extremes,
            text("book"),
            {"activation": activation, "topK": 1},
        )
        for activation in ACTIVATIONS
    ]
    vectors.append(
        classify("a tie goes to the lower id", models["topics"], text("book"), {"minScore": 0.5})
    )
    return vectors


def pair_vectors(models: Models) -> list[Json]:
    """The group `pairs`."""
    entailment = models["entailment"]
    pairs = {
        "a pair": text("The hotel was clean", "The room was good"),
        "the other way round": text("The room was good", "The hotel was clean"),
        "the same text twice": text("It was good", "It was good"),
        "one word each": text("good", "bad"),
        "several scripts": text("\u8fd9\u672c\u4e66", "Das Buch \U0001f600"),
        "a separator in a text": text("a [SEP] b", "c"),
        "only NUL behind": text("good", "\u0000"),
    }
    vectors = [classify(name, entailment, pair) for name, pair in pairs.items()]
    vectors += [
        classify(f"{name}, with tokens", entailment, pair, {"includeTokens": True})
        for name, pair in pairs.items()
    ]
    vectors += [
        classify(f"{name}, {pair}", model, pairs[pair], {"includeTokens": True})
        for name, model in models.items()
        if model is not entailment
        for pair in ("a pair", "several scripts")
    ]
    vectors += [
        tokenize(f"tokens in {unit}", models["rating"], text("caf\u00e9", "\U0001f600!"), unit)
        for unit in UNITS
    ]
    vectors += [
        classify("an empty text behind", entailment, text("good", "")),
        classify("a blank text behind", entailment, text("good", " \t")),
        classify("a blank text before", entailment, text(" ", "good")),
        classify("too large a text behind", entailment, text("good", "a" * 2_049)),
        batch(
            "pairs and single texts",
            entailment,
            [pairs["a pair"], text("good"), pairs["one word each"], text("bad", " ")],
        ),
    ]
    return vectors


def truncation_vectors(models: Models) -> list[Json]:
    """The group `truncation`: texts and pairs around the limit, truncated at either end."""
    entailment, topics, rating = models["entailment"], models["topics"], models["rating"]
    vectors = []
    rejecting = ("TRUNCATION_UNSPECIFIED", "TRUNCATION_REJECT")
    for truncation in (*rejecting, *DROPPING):
        options: Json = {"truncation": truncation} if truncation != rejecting[0] else {}
        how = truncation.removeprefix("TRUNCATION_").lower()
        for count, what in ((30, "as many as the model takes"), (31, "one more"), (90, "far more")):
            vectors.append(classify(f"{what}, {how}", topics, text(texts.words(count)), options))
        vectors.append(
            tokenize(f"tokens, {how}", topics, text(texts.words(40)), truncation=truncation)
        )
        vectors.append(
            classify(f"bytes as tokens, {how}", rating, text("\u8fd9\u672c\u4e66 " * 9), options)
        )
    lengths = {
        "the first is longer": (40, 5),
        "the second is longer": (5, 40),
        "both are long": (60, 50),
        "both are long, the second longer": (50, 60),
        "just enough": (14, 14),
        "one more": (15, 14),
    }
    for (name, (first, second)), truncation in itertools.product(
        lengths.items(), (rejecting[1], *DROPPING)
    ):
        pair = text(texts.words(first), texts.words(second, start=7))
        options = {"truncation": truncation, "includeTokens": truncation != rejecting[1]}
        how = truncation.removeprefix("TRUNCATION_").lower()
        vectors.append(classify(f"pairs, {name}, {how}", entailment, pair, options))
    emoji = text("x" + "\U0001f600 " * 40)
    vectors += [
        tokenize(f"spans of what is left, {unit}, {truncation}", topics, emoji, unit, truncation)
        for unit, truncation in itertools.product(UNITS, DROPPING)
    ]
    long = text("a " * 600)
    vectors += [
        classify("more than the default model takes", models["stars-en"], long),
        classify("cut for it", models["stars-en"], long, {"truncation": DROPPING[0]}),
        batch(
            "one of a batch, refused", topics, [text("good"), text(texts.words(31)), text("bad")]
        ),
        batch(
            "one of a batch, cut",
            topics,
            [text("good"), text(texts.words(31))],
            {"truncation": DROPPING[1]},
        ),
    ]
    return vectors

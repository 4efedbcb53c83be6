"""Vectors for texts that are read in windows: Classify, BatchClassify, StreamClassify, Tokenize."""

from collections.abc import Mapping
from typing import Any

from conformance.limits import MAX_WINDOWS_PER_CALL

from . import texts
from .calls import CLASSIFY, TOKENIZE, batch, classify, rejected, text, tokenize
from .encoding import Json
from .problems import Problem, invalid
from .reference import Reference
from .scoring import MAX_SCORE
from .stream_errors import broken
from .streams import config, stream

IN_FORCE = "TRUNCATION_WINDOWS"
UNITS = ("OFFSET_UNIT_UNICODE", "OFFSET_UNIT_UTF8", "OFFSET_UNIT_UTF16")
REVIEW = (
    "We loved the caf\u00e9 \U0001f600: the coffee was excellent, the cake was fresh and the staff "
    "could not have been kinder. I would have given it five stars. Then we asked for the bill. It "
    "took forty minutes, it was wrong twice, and the manager shouted at us in front of everyone. "
    "A terrible evening. We will never come back, and I want my money back!"
)
"""A text whose parts differ, with characters of several bytes; the example programs read it."""
NO_ROOM = Problem(
    "RESOURCE_EXHAUSTED",
    "OVERLOADED",
    metadata={"max_windows_per_call": str(MAX_WINDOWS_PER_CALL)},
    retry=True,
)


def options(window_tokens: int = 0, overlap: int | None = None, **others: Any) -> Json:
    """Return options with windows in force; `aggregation` is one of WindowOptions."""
    windows = {
        "windowTokens": window_tokens or None,
        "overlapTokens": overlap,
        "aggregation": others.pop("aggregation", None),
    }
    given = {key: value for key, value in windows.items() if value is not None}
    return {"truncation": IN_FORCE, **({"windows": given} if given else {}), **others}


def vectors(models: Mapping[str, Reference]) -> list[Json]:
    """The group `windows`."""
    return [*_texts(models), *_offsets(models), *_pairs(models), *_several(models), *_bad(models)]


def _texts(models: Mapping[str, Reference]) -> list[Json]:
    stars, topics, entailment = models["stars-en"], models["topics"], models["entailment"]
    shown = {"includeWindows": True, "includeLogits": True}
    long = text(texts.words(90))
    return [
        classify(
            "as many tokens as fit", entailment, text(texts.words(29)), options(0, **shown)
        ),
        classify("a text without tokens", entailment, text("\u0000"), options(0, **shown)),
        classify("one token more", entailment, text(texts.words(30)), options(0, **shown)),
        classify("the default overlap", entailment, long, options(0, **shown)),
        classify("overlap of half a window", entailment, long, options(30, 15, **shown)),
        classify(
            "the smallest window", entailment, text("good, bad, rude"), options(4, 2, **shown)
        ),
        classify(
            "the highest scores",
            entailment,
            long,
            options(20, 3, aggregation=MAX_SCORE, **shown),
        ),
        classify("multi-label", topics, long, options(0, **shown)),
        classify(
            "multi-label, some scores", topics, long, options(topK=3, minScore=0.5)
        ),
        classify(
            "extremes",
            models["extremes"],
            long,
            options(24, 1, aggregation=MAX_SCORE, activation="ACTIVATION_SOFTMAX", **shown),
        ),
        classify("a review", stars, text(REVIEW), options(24, includeWindows=True)),
    ]  # fmt: skip


def _offsets(models: Mapping[str, Reference]) -> list[Json]:
    rating, topics = models["rating"], models["topics"]
    emoji = text("x" + "\U0001f600 caf\u00e9 " * 12)
    return [
        *(
            classify(
                f"spans in {unit}", topics, emoji, options(14, includeWindows=True, offsetUnit=unit)
            )
            for unit in UNITS
        ),
        classify(
            "windows that end within a character",
            rating,
            text("\u8fd9\u672c\u4e66\U0001f600 " * 4),
            options(16, 3, includeWindows=True, includeLogits=True),
        ),
        tokenize(
            "tokens of all windows", topics, emoji, UNITS[2], IN_FORCE, options(14)["windows"]
        ),
        tokenize("tokens of a text that fits", topics, text("good"), truncation=IN_FORCE),
    ]


def _pairs(models: Mapping[str, Reference]) -> list[Json]:
    entailment = models["entailment"]
    shown = options(0, 2, includeWindows=True)
    pairs = {
        "a pair, the first longer": (40, 5),
        "a pair, the second longer": (6, 33),
        "a pair, of equals the first": (16, 16),
        "a pair whose second leaves too little": (40, 22),
        "a pair whose first leaves too little": (22, 40),
    }
    return [
        classify(name, entailment, text(texts.words(first), texts.words(second, start=3)), shown)
        for name, (first, second) in pairs.items()
    ]


def _several(models: Mapping[str, Reference]) -> list[Json]:
    topics = models["topics"]
    long, longer, short = text(texts.words(70)), text(texts.words(200)), text("The staff was rude")
    no_overlap = options(16, 0)
    full = batch(
        "a batch of more windows than a call may have",
        topics,
        [short, long, text(" "), long, text("good"), long, short],
        no_overlap | {"windows": {"windowTokens": 14, "overlapTokens": 0}},
    )
    full["expect"]["response"]["outcomes"][5:] = [NO_ROOM.outcome()] * 2
    items = [
        ("a", short),
        ("b", long),
        ("c", longer),
        ("d", text(" ")),
        ("e", text(texts.words(31))),
    ]
    return [
        batch(
            "tokens only of a text that fits",
            topics,
            [short, text(texts.words(31))],
            options(includeTokens=True),
        ),
        batch("a batch", topics, [short, text(texts.words(40)), longer, short], no_overlap),
        full,
        stream(
            "a stream",
            topics,
            [items],
            options(16, 0, includeWindows=True),
            "ORDERING_IN_ORDER",
        ),
    ]


def _bad(models: Mapping[str, Reference]) -> list[Json]:
    entailment = models["entailment"]
    size, limit = "windows.window_tokens", entailment.max_tokens
    cases = {
        "windows without the truncation": ({"windows": {}}, invalid("BAD_OPTION", "windows")),
        "windows in the answer without the truncation": (
            {"includeWindows": True},
            invalid("BAD_OPTION", "include_windows"),
        ),
        "a window of more than the model takes": (
            options(limit + 1),
            invalid("BAD_OPTION", size, max_tokens=limit),
        ),
        "a window of special tokens only": (
            options(3),
            invalid("BAD_OPTION", size, max_tokens=limit),
        ),
        "an overlap over half": (
            options(15, 8),
            invalid("BAD_OPTION", "windows.overlap_tokens", window_tokens=15),
        ),
        "an unknown aggregation": (
            options(aggregation=42),
            invalid("UNKNOWN_ENUM", "windows.aggregation", value=42),
        ),
    }
    request = {"model": entailment.name, "input": text("good")}
    windows = options(15, 8)
    return [
        *(
            rejected(name, CLASSIFY, problem.at("options"), request={**request, "options": given})
            for name, (given, problem) in cases.items()
        ),
        rejected(
            "an overlap over half, to tokenize",
            TOKENIZE,
            invalid("BAD_OPTION", "windows.overlap_tokens", window_tokens=15),
            request={**request, **windows},
        ),
        broken(
            "an overlap over half, in a stream",
            [config(entailment, options=windows)],
            invalid("BAD_OPTION", "config.options.windows.overlap_tokens", window_tokens=15),
        ),
    ]

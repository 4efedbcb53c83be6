"""Vectors for Tokenize: all kinds of texts, in each unit."""

from collections.abc import Mapping

from . import texts
from .calls import text, tokenize
from .encoding import Json
from .reference import Reference

UNITS = {
    "": "OFFSET_UNIT_UNSPECIFIED",
    ", UTF-8": "OFFSET_UNIT_UTF8",
    ", UTF-16": "OFFSET_UNIT_UTF16",
}


def vectors(models: Mapping[str, Reference]) -> list[Json]:
    """The group `tokenize`."""
    stars, rating, spam = models["stars-en"], models["rating"], models["spam"]
    plain = {**texts.PLAIN, **texts.LONG_WORDS, **texts.NEARLY_EMPTY}
    short = {name: value[:12] for name, value in texts.UNICODE.items()}
    return [
        *(tokenize(name, stars, text(value)) for name, value in plain.items()),
        tokenize("code points, said", stars, text("Tr\u00e8s bien"), "OFFSET_UNIT_UNICODE"),
        *(
            tokenize(f"{name}{what}", stars, text(value), unit)
            for name, value in texts.UNICODE.items()
            for what, unit in UNITS.items()
        ),
        *(
            tokenize(f"bytes as tokens, {name}{what}", rating, text(value), unit)
            for name, value in short.items()
            if rating_takes(rating, value)
            for what, unit in UNITS.items()
        ),
        *(
            tokenize(f"no token types, {name}", spam, text(texts.PLAIN[name]))
            for name in ("a sentence", "one word")
        ),
        tokenize("a pair", models["entailment"], text("It was good", "It was bad")),
        tokenize("a pair, no token types", spam, text("good", "bad")),
    ]


def rating_takes(rating: Reference, value: str) -> bool:
    """Whether a text is short enough for the model whose tokens are bytes."""
    return len(value.encode()) <= rating.max_tokens - 2

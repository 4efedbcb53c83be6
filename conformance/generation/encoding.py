"""A model's input for a text, by the rules of the contract."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .problems import invalid

Json = dict[str, Any]

UNITS: Mapping[str, tuple[str, int]] = {
    "OFFSET_UNIT_UNSPECIFIED": ("utf-32-le", 4),
    "OFFSET_UNIT_UNICODE": ("utf-32-le", 4),
    "OFFSET_UNIT_UTF8": ("utf-8", 1),
    "OFFSET_UNIT_UTF16": ("utf-16-le", 2),
}
"""The codec of each offset unit, and the bytes of one unit."""


@dataclass(frozen=True)
class Token:
    """One position of the model's input; `sequence` is None for special tokens."""

    id: int
    text: str
    start: int
    end: int
    sequence: int | None
    token_type_id: int


def texts_of(text: Json) -> list[str]:
    """Return the one or two texts of a TextInput."""
    return [text["text"], *([text["textPair"]] if "textPair" in text else [])]


def tokens_of(tokenizer: Any, texts: Sequence[str], *, has_types: bool) -> list[Token]:
    """Return all tokens of a text or pair, including special ones, without truncation.

    `has_types` tells whether the model receives token type ids; otherwise they are 0.
    """
    encoded = tokenizer(
        *texts, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False
    )
    types = encoded["token_type_ids"] if has_types else [0] * len(encoded["input_ids"])
    entries = tokenizer.convert_ids_to_tokens(encoded["input_ids"])
    return [
        Token(id_, entry, start, end, None if special else sequence, type_)
        for id_, entry, (start, end), special, sequence, type_ in zip(
            encoded["input_ids"],
            entries,
            encoded["offset_mapping"],
            encoded["special_tokens_mask"],
            encoded.sequence_ids(),
            types,
            strict=True,
        )
    ]


def truncated(tokens: Sequence[Token], max_tokens: int, truncation: str) -> list[Token]:
    """Return the remaining tokens; truncation cuts the longer text of a pair first.

    Raises Problem TOO_MANY_TOKENS if truncation is REJECT.
    """
    if len(tokens) <= max_tokens:
        return list(tokens)
    if truncation in ("TRUNCATION_UNSPECIFIED", "TRUNCATION_REJECT"):
        raise invalid("TOO_MANY_TOKENS", "text", tokens=len(tokens), max_tokens=max_tokens)
    places = [[place for place, token in enumerate(tokens) if token.sequence == n] for n in (0, 1)]
    for _ in range(len(tokens) - max_tokens):
        longer = max(places, key=len)
        longer.pop(-1 if truncation == "TRUNCATION_DROP_END" else 0)
    if places[1] and abs(len(places[0]) - len(places[1])) == 1:
        raise ValueError(
            "the contract does not define which of two equally long texts loses the last token"
        )
    return [
        token
        for place, token in enumerate(tokens)
        if token.sequence is None or place in places[token.sequence]
    ]


def written(tokens: Sequence[Token], texts: Sequence[str], unit: str) -> list[Json]:
    """Return the tokens in wire format, with spans in an offset unit."""
    codec, size = UNITS[unit]
    sequence, messages = 0, []
    for token in tokens:
        message: Json = {"id": token.id, "text": token.text}
        if token.sequence is None:
            message["special"] = True
        else:
            sequence = token.sequence
            text = texts[sequence]
            message["start"] = len(text[: token.start].encode(codec)) // size
            message["end"] = len(text[: token.end].encode(codec)) // size
        message["tokenTypeId"] = token.token_type_id
        message["sequenceIndex"] = sequence
        messages.append({key: value for key, value in message.items() if value})
    return messages

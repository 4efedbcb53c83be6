"""Text to Encoding: the ids that the model receives, and the span of each token in the text."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, Protocol

from classwire.contract.reasons import Reason
from classwire_server.errors import ConfigError, RequestError


class Truncation(Enum):
    """How to handle a text with more tokens than the model accepts."""

    REJECT = "reject"
    DROP_END = "drop_end"
    DROP_START = "drop_start"


class OffsetUnit(Enum):
    """The unit of span offsets; the value is the codec with these code units, and their size."""

    UNICODE = ("utf-32-le", 4)
    UTF8 = ("utf-8", 1)
    UTF16 = ("utf-16-le", 2)


class Text(NamedTuple):
    """One text, or a pair of texts to classify together."""

    text: str
    text_pair: str | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """One position of the model's input; `start` and `end` are 0 for special tokens."""

    id: int
    text: str
    start: int
    end: int
    special: bool
    token_type_id: int
    sequence_index: int


class Encoded(Protocol):
    """What a tokenizer returns for one text, special tokens included."""

    @property
    def ids(self) -> Sequence[int]:
        """The ids of the tokens."""
        ...

    @property
    def type_ids(self) -> Sequence[int]:
        """The token type id of each token."""
        ...


class Tokenizer(Protocol):
    """The tokenizer of a checkpoint; any thread may call it.

    `has_spans` says whether its results also have the spans of the tokens, as those of the Rust
    tokenizers have.
    """

    has_spans: bool

    @property
    def longest_token_bytes(self) -> int:
        """Size of the longest entry of the vocabulary, in UTF-8 bytes; 0 without spans."""
        ...

    @property
    def special_tokens_of_a_pair(self) -> int:
        """Number of special tokens that a pair of texts gets."""
        ...

    def encode(self, sources: Sequence[Text], *, spans: bool) -> Sequence[Encoded | Exception]:
        """Encode whole texts or pairs; one that fails has its exception in its place."""
        ...

    def truncate(
        self, source: Text, truncation: Truncation, max_tokens: int, *, spans: bool
    ) -> Encoded | Exception:
        """Encode the part of a text or pair that `max_tokens` have room for."""
        ...

    def id_to_token(self, id_: int) -> str:
        """The entry of the vocabulary for an id."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class Encoding:
    """The model's input for one text: ids and token type ids, special tokens included.

    `truncated_tokens` is the number of tokens that truncation removed. `tokens` needs an encoding
    with spans.
    """

    ids: Sequence[int]
    token_type_ids: Sequence[int]
    truncated_tokens: int
    source: Text
    _rust: Any = None
    _tokenizer: Any = None

    def tokens(self, unit: OffsetUnit) -> Iterator[Token]:
        """The tokens with their spans in the original text, in the given unit."""
        converters = [
            _offset_converter(self.source.text, unit),
            _offset_converter(self.source.text_pair or "", unit),
        ]
        sequence_index = 0
        rust = self._rust
        for id_, (start, end), special, type_id, sequence in zip(
            rust.ids,
            rust.offsets,
            rust.special_tokens_mask,
            self.token_type_ids,
            rust.sequence_ids,
            strict=True,
        ):
            # Not rust.tokens: for unknown tokens it has pieces of the caller's text.
            text = self._tokenizer.id_to_token(id_)
            if special:
                yield Token(id_, text, 0, 0, True, type_id, sequence_index)
                continue
            sequence_index = sequence or 0
            offset = converters[sequence_index]
            yield Token(id_, text, offset(start), offset(end), False, type_id, sequence_index)


def _offset_converter(text: str, unit: OffsetUnit) -> Callable[[int], int]:
    """A function that converts an offset in code points to the unit."""
    codec, size = unit.value
    if unit is OffsetUnit.UNICODE or text.isascii():
        return lambda offset: offset
    sizes = (len(character.encode(codec)) // size for character in text)
    offsets = list(itertools.accumulate(sizes, initial=0))
    return lambda offset: offsets[offset]


def tokens_made(outcome: Encoding | Exception) -> int:
    """Number of tokens of a text, also of one that was rejected for too many; else 0."""
    if isinstance(outcome, Encoding):
        return len(outcome.ids)
    if isinstance(outcome, RequestError) and outcome.reason is Reason.TOO_MANY_TOKENS:
        return int(outcome.metadata["tokens"])
    return 0


class Tokenization:
    """Tokenizes texts for one model; safe for use by several threads at once.

    `max_tokens` is the longest encoding that the model accepts, `uses_token_types` whether the
    model receives token type ids (else they are all 0), `takes_pairs` whether it accepts pairs.
    `known_ids` is the number of ids that the model has embeddings for, None if it has one for each
    id of the tokenizer. Raises ConfigError if `max_tokens` leaves no room for a text.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        max_tokens: int,
        uses_token_types: bool,
        default_truncation: Truncation,
        takes_pairs: bool = True,
        known_ids: int | None = None,
    ) -> None:
        self.max_tokens = max_tokens
        self.default_truncation = default_truncation
        self._tokenizer = tokenizer
        self._uses_token_types = uses_token_types
        self._takes_pairs = takes_pairs
        self._known_ids = known_ids
        special = tokenizer.special_tokens_of_a_pair
        if max_tokens <= special:
            raise ConfigError(
                "max_tokens", f"{max_tokens} leaves no room for text after {special} special tokens"
            )

    @property
    def has_spans(self) -> bool:
        """Whether encodings can have spans."""
        return self._tokenizer.has_spans

    @property
    def longest_token_bytes(self) -> int:
        """Size of the longest entry of the vocabulary, in UTF-8 bytes."""
        return self._tokenizer.longest_token_bytes

    def encode(self, source: Text, truncation: Truncation | None, field: str) -> Encoding:
        """Encode one text or pair, with spans if the tokenizer has them.

        Raises RequestError, naming `field` or text_pair: TOO_MANY_TOKENS if the text is longer than
        the model accepts and truncation is REJECT; BAD_OPTION for a pair if the model takes none;
        EMPTY_TEXT if it has no token; INTERNAL if it has a token that the model does not know.
        """
        [encoding] = self.encode_all([source], truncation, spans=self.has_spans)
        if isinstance(encoding, RequestError) and encoding.field == "text":
            encoding.field = field
        if isinstance(encoding, Exception):
            raise encoding
        return encoding

    def encode_all(
        self, sources: Sequence[Text], truncation: Truncation | None, *, spans: bool
    ) -> list[Encoding | Exception]:
        """Encode texts or pairs; one that fails has its exception in its place.

        The errors are those that `encode` raises, with `field` relative to their input.
        """
        truncation = truncation or self.default_truncation
        return [
            self._encoding(source, encoded, truncation, spans)
            for source, encoded in zip(
                sources, self._tokenizer.encode(sources, spans=spans), strict=True
            )
        ]

    def _encoding(
        self, source: Text, encoded: Encoded | Exception, truncation: Truncation, spans: bool
    ) -> Encoding | Exception:
        if isinstance(encoded, Exception):
            return encoded
        if source.text_pair is not None and not self._takes_pairs:
            problem = "the model takes single texts, and this is a pair"
            return RequestError(Reason.BAD_OPTION, problem, field="text_pair")
        tokens = len(encoded.ids)
        if tokens == 0:
            return RequestError(
                Reason.EMPTY_TEXT, "the tokenizer leaves no token of the text", field="text"
            )
        if tokens > self.max_tokens:
            if truncation is Truncation.REJECT:
                return RequestError(
                    Reason.TOO_MANY_TOKENS,
                    f"the text has {tokens} tokens, and the model takes {self.max_tokens}",
                    field="text",
                    metadata={"tokens": str(tokens), "max_tokens": str(self.max_tokens)},
                )
            encoded = self._tokenizer.truncate(source, truncation, self.max_tokens, spans=spans)
            if isinstance(encoded, Exception):
                return encoded
        ids = encoded.ids
        if self._known_ids is not None and max(ids) >= self._known_ids:
            return RequestError(
                Reason.INTERNAL,
                "the text has a token without an embedding: the checkpoint's tokenizer has more "
                "tokens than its model",
            )
        type_ids = encoded.type_ids if self._uses_token_types else [0] * len(ids)
        origin = (encoded, self._tokenizer) if spans else ()
        return Encoding(ids, type_ids, tokens - len(ids), source, *origin)

"""Text to Encoding: the ids that the model receives, and the span of each token in the text.

It calls the Rust tokenizer directly, on its own copies: `transformers` sets truncation on a shared
object, which is not safe with several threads.
"""

import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import tokenizers

from classwire.contract.reasons import Reason

from .errors import CheckpointError, ConfigError, RequestError

# While the model uses all cores, the tokenizer's own threads take a third more CPU time.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


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

    `rust_json` is the tokenizer in the format of tokenizer.json, `max_tokens` the longest encoding
    that the model accepts, `uses_token_types` whether the model receives token type ids (else they
    are all 0), `takes_pairs` whether it accepts pairs. Raises ConfigError if `max_tokens` leaves no
    room for a text.
    """

    def __init__(
        self,
        rust_json: str,
        *,
        max_tokens: int,
        uses_token_types: bool,
        default_truncation: Truncation,
        takes_pairs: bool = True,
    ) -> None:
        self.max_tokens = max_tokens
        self.default_truncation = default_truncation
        self._json = rust_json
        self._uses_token_types = uses_token_types
        self._takes_pairs = takes_pairs
        self._untruncated = _load(rust_json)
        special = self._untruncated.num_special_tokens_to_add(is_pair=True)
        if max_tokens <= special:
            raise ConfigError(
                "max_tokens", f"{max_tokens} leaves no room for text after {special} special tokens"
            )
        self._truncating: dict[Truncation, tokenizers.Tokenizer] = {}
        self._lock = threading.Lock()  # guards _truncating

    @property
    def longest_token_bytes(self) -> int:
        """Size of the longest entry of the vocabulary, in UTF-8 bytes."""
        vocabulary = self._untruncated.get_vocab(with_added_tokens=True)
        return max((len(text.encode()) for text in vocabulary), default=0)

    def encode(self, source: Text, truncation: Truncation | None, field: str) -> Encoding:
        """Encode one text or pair, with spans.

        Raises RequestError, naming `field`: TOO_MANY_TOKENS if the text is longer than the model
        accepts and truncation is REJECT, BAD_OPTION for a pair if the model takes none.
        """
        [encoding] = self.encode_all([source], truncation, spans=True)
        if isinstance(encoding, RequestError) and encoding.field == "text":
            encoding.field = field
        if isinstance(encoding, Exception):
            raise encoding
        return encoding

    def encode_all(
        self, sources: Sequence[Text], truncation: Truncation | None, *, spans: bool
    ) -> list[Encoding | Exception]:
        """Encode texts or pairs; one that fails has its exception in its place.

        A text with too many tokens, or a pair for a model that takes none, has the error that
        `encode` raises, with `field` relative to its input.
        """
        truncation = truncation or self.default_truncation
        return [
            self._encoding(source, rust, truncation, spans)
            for source, rust in zip(
                sources, _encode(self._untruncated, sources, spans), strict=True
            )
        ]

    def _encoding(
        self, source: Text, rust: Any, truncation: Truncation, spans: bool
    ) -> Encoding | Exception:
        if isinstance(rust, Exception):
            return rust
        if source.text_pair is not None and not self._takes_pairs:
            problem = "the model takes single texts, and this is a pair"
            return RequestError(Reason.BAD_OPTION, problem, field="text_pair")
        tokens = len(rust)
        if tokens > self.max_tokens:
            if truncation is Truncation.REJECT:
                return RequestError(
                    Reason.TOO_MANY_TOKENS,
                    f"the text has {tokens} tokens, and the model takes {self.max_tokens}",
                    field="text",
                    metadata={"tokens": str(tokens), "max_tokens": str(self.max_tokens)},
                )
            [rust] = _encode(self._truncating_tokenizer(truncation), [source], spans)
            if isinstance(rust, Exception):
                return rust
        ids = rust.ids
        type_ids = rust.type_ids if self._uses_token_types else [0] * len(ids)
        origin = (rust, self._untruncated) if spans else ()
        return Encoding(ids, type_ids, tokens - len(ids), source, *origin)

    def _truncating_tokenizer(self, truncation: Truncation) -> tokenizers.Tokenizer:
        with self._lock:
            if truncation not in self._truncating:
                tokenizer = _load(self._json)
                tokenizer.enable_truncation(
                    self.max_tokens,
                    strategy="longest_first",
                    direction="right" if truncation is Truncation.DROP_END else "left",
                )
                self._truncating[truncation] = tokenizer
            return self._truncating[truncation]


def _encode(tokenizer: tokenizers.Tokenizer, sources: Sequence[Text], spans: bool) -> list[Any]:
    """Rust's encodings of the texts; one that fails has its exception in its place."""
    encode = tokenizer.encode_batch if spans else tokenizer.encode_batch_fast
    inputs = [source.text if source.text_pair is None else tuple(source) for source in sources]
    try:
        return list(encode(inputs))
    except BaseException as error:
        # A panic in Rust is a BaseException, which the handlers above would not catch.
        panicked = type(error).__name__ == "PanicException"
        if not panicked and not isinstance(error, Exception):
            raise
        if len(sources) == 1:
            return [RuntimeError("the tokenizer panicked") if panicked else error]
    return [result for source in sources for result in _encode(tokenizer, [source], spans)]


def _load(rust_json: str) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer.from_str(rust_json)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


_SAMPLES = ("I really love this book", "Ce livre est bon.", "这本书很好", "1234 5678")


def check_tokenizer(tokenizer: Any, vocabulary_rows: int, checkpoint: str) -> str:
    """Check that a transformers tokenizer can be served, and return its tokenizer.json.

    `vocabulary_rows` is the number of rows of the model's embedding table. Raises CheckpointError
    if the tokenizer has no Rust form, has ids outside of that table, or knows none of a few samples
    of text.
    """
    rust = getattr(tokenizer, "backend_tokenizer", None)
    if rust is None:
        raise CheckpointError(f"{checkpoint}: its tokenizer has no fast (Rust) form")
    largest_id = max(rust.get_vocab(with_added_tokens=True).values(), default=-1)
    if largest_id >= vocabulary_rows:
        raise CheckpointError(f"{checkpoint}: its tokenizer has ids that its model does not know")
    rust_json: str = rust.to_str()
    unknown_id = tokenizer.unk_token_id
    plain = _load(rust_json)
    known = [
        id_
        for sample in _SAMPLES
        for id_ in plain.encode(sample, add_special_tokens=False).ids
        if id_ != unknown_id
    ]
    if not known:
        raise CheckpointError(
            f"{checkpoint}: its tokenizer is broken: it knows none of the words tried"
        )
    return rust_json

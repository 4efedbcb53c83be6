"""Text -> Encoding: what the model will see of a text, and where each token comes from.

The Rust tokenizer is used directly, on private copies: `transformers`' own call sets truncation on
a shared object, which is not safe with several threads.
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

# On cores that the model keeps busy, the tokenizer's own threads cost a third more for nothing.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


class Truncation(Enum):
    """What happens to a text of more tokens than the model takes."""

    REJECT = "reject"
    DROP_END = "drop_end"
    DROP_START = "drop_start"


class OffsetUnit(Enum):
    """What spans count; the value is the codec whose code units they are, with the unit's size."""

    UNICODE = ("utf-32-le", 4)
    UTF8 = ("utf-8", 1)
    UTF16 = ("utf-16-le", 2)


class Text(NamedTuple):
    """One text, or a pair of texts that is classified together."""

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
    """What the model sees of one text: ids and token type ids, special tokens included.

    `truncated_tokens` is how many tokens truncation took away. Only an encoding that was made with
    spans has `tokens`.
    """

    ids: Sequence[int]
    token_type_ids: Sequence[int]
    truncated_tokens: int
    source: Text
    _rust: Any = None
    _tokenizer: Any = None

    def tokens(self, unit: OffsetUnit) -> Iterator[Token]:
        """The tokens with their spans in the original text, in the unit asked for."""
        places = [_place_in(self.source.text, unit), _place_in(self.source.text_pair or "", unit)]
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
            # Rust's own texts are pieces of the caller's text where the vocabulary has no entry.
            text = self._tokenizer.id_to_token(id_)
            if special:
                yield Token(id_, text, 0, 0, True, type_id, sequence_index)
                continue
            sequence_index = sequence or 0
            place = places[sequence_index]
            yield Token(id_, text, place(start), place(end), False, type_id, sequence_index)


def _place_in(text: str, unit: OffsetUnit) -> Callable[[int], int]:
    """A function from an offset in code points to one in the unit."""
    codec, size = unit.value
    if unit is OffsetUnit.UNICODE or text.isascii():
        return lambda offset: offset
    sizes = (len(character.encode(codec)) // size for character in text)
    places = list(itertools.accumulate(sizes, initial=0))
    return lambda offset: places[offset]


def tokens_made(outcome: Encoding | Exception) -> int:
    """How many tokens were made of a text, of one that was refused for having too many as well."""
    if isinstance(outcome, Encoding):
        return len(outcome.ids)
    if isinstance(outcome, RequestError) and outcome.reason is Reason.TOO_MANY_TOKENS:
        return int(outcome.metadata["tokens"])
    return 0


class Tokenization:
    """Tokenizes texts for one model; safe for use by several threads at once.

    `rust_json` is the tokenizer in the form of tokenizer.json, `max_tokens` the longest encoding
    the model takes, `uses_token_types` whether the model receives token type ids (else they are all
    0). Raises ConfigError when max_tokens leaves no room for a text.
    """

    def __init__(
        self,
        rust_json: str,
        *,
        max_tokens: int,
        uses_token_types: bool,
        default_truncation: Truncation,
    ) -> None:
        self.max_tokens = max_tokens
        self.default_truncation = default_truncation
        self._json = rust_json
        self._uses_token_types = uses_token_types
        self._whole = _load(rust_json)
        special = self._whole.num_special_tokens_to_add(is_pair=True)
        if max_tokens <= special:
            raise ConfigError(
                "max_tokens", f"{max_tokens} leave no room for text beside {special} special tokens"
            )
        self._truncating: dict[Truncation, tokenizers.Tokenizer] = {}
        self._lock = threading.Lock()  # guards _truncating

    @property
    def longest_token_bytes(self) -> int:
        """Size of the longest entry of the vocabulary, in bytes of UTF-8."""
        vocabulary = self._whole.get_vocab(with_added_tokens=True)
        return max((len(text.encode()) for text in vocabulary), default=0)

    def encode(self, source: Text, truncation: Truncation | None, field: str) -> Encoding:
        """Encode one text or pair, with spans.

        Raises RequestError TOO_MANY_TOKENS, naming `field`, when the text is longer than the model
        takes and truncation is REJECT.
        """
        [encoding] = self.encode_all([source], truncation, spans=True)
        if isinstance(encoding, RequestError):
            encoding.field = field
        if isinstance(encoding, Exception):
            raise encoding
        return encoding

    def encode_all(
        self, sources: Sequence[Text], truncation: Truncation | None, *, spans: bool
    ) -> list[Encoding | Exception]:
        """Encode texts or pairs; one that can't be has its exception in its place.

        A text of too many tokens has what `encode` raises; its field is that within the input.
        """
        truncation = truncation or self.default_truncation
        return [
            self._encoding(source, rust, truncation, spans)
            for source, rust in zip(sources, _encode(self._whole, sources, spans), strict=True)
        ]

    def _encoding(
        self, source: Text, rust: Any, truncation: Truncation, spans: bool
    ) -> Encoding | Exception:
        if isinstance(rust, Exception):
            return rust
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
        origin = (rust, self._whole) if spans else ()
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
    """What Rust makes of the texts; where it fails on one, the exception in its place."""
    encode = tokenizer.encode_batch if spans else tokenizer.encode_batch_fast
    inputs = [source.text if source.text_pair is None else tuple(source) for source in sources]
    try:
        return list(encode(inputs))
    except BaseException as error:
        # A panic in Rust is no Exception, and would pass by all who answer the caller.
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
    when the tokenizer has no Rust form, has ids that the model does not know, or knows no text at
    all.
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

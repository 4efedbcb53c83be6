"""The model's input for a text: one encoding, or one for each window of it."""

import itertools
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, NamedTuple

from classwire_server.windows import weights


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


class Origin:
    """What the tokenizer returned for a whole text, with the spans of its tokens.

    The Rust object copies a list each time it is read, so each is read once.
    """

    def __init__(self, source: Text, rust: Any, tokenizer: Any) -> None:
        self._source = source
        self._rust = rust
        self._tokenizer = tokenizer
        self._converters: dict[OffsetUnit, list[Callable[[int], int]]] = {}

    @cached_property
    def offsets(self) -> Sequence[tuple[int, int]]:
        """The span of each token in its text, in code points."""
        offsets: Sequence[tuple[int, int]] = self._rust.offsets
        return offsets

    @cached_property
    def ids(self) -> Sequence[int]:
        """The id of each token."""
        ids: Sequence[int] = self._rust.ids
        return ids

    @cached_property
    def special(self) -> Sequence[int]:
        """1 for each token that the tokenizer added, else 0."""
        special: Sequence[int] = self._rust.special_tokens_mask
        return special

    @cached_property
    def sequences(self) -> Sequence[int | None]:
        """Which text of a pair each token is of."""
        sequences: Sequence[int | None] = self._rust.sequence_ids
        return sequences

    @cached_property
    def texts(self) -> Sequence[range]:
        """The positions of the tokens of each text."""
        return texts_in(self.sequences)

    def converters(self, unit: OffsetUnit) -> Sequence[Callable[[int], int]]:
        """For each text of a pair, what converts an offset in code points to the unit."""
        if unit not in self._converters:
            self._converters[unit] = [_converter(text or "", unit) for text in self._source]
        return self._converters[unit]

    def id_to_token(self, id_: int) -> str:
        """The entry of the vocabulary for an id."""
        return str(self._tokenizer.id_to_token(id_))


def texts_in(sequences: Sequence[int | None]) -> list[range]:
    """The positions of the tokens of each text, two for a pair: `sequences` says which text of a
    pair each token is of, None for special tokens.
    """
    texts = []
    for number in (0, 1) if 1 in sequences else (0,):
        tokens = sequences.count(number)
        start = sequences.index(number) if tokens else 0
        texts.append(range(start, start + tokens))
    return texts


@dataclass(frozen=True, eq=False, slots=True)
class Encoding:
    """The model's input for one text: ids and token type ids, special tokens included.

    `truncated_tokens` is the number of tokens that truncation removed. `origin` is None without
    spans. `places` are the positions of the tokens in the origin, empty for all of them.
    """

    ids: Sequence[int]
    token_type_ids: Sequence[int]
    truncated_tokens: int
    source: Text
    origin: Origin | None = None
    places: Sequence[range] = ()

    def tokens(self, unit: OffsetUnit) -> Iterator[Token]:
        """The tokens with their spans in the original text, in the given unit. Needs an origin."""
        origin = self.origin
        if origin is None:
            raise ValueError("the encoding has no spans")
        converters = origin.converters(unit)
        sequence_index = 0
        places = itertools.chain.from_iterable(self.places or [range(len(self.ids))])
        for place, type_id in zip(places, self.token_type_ids, strict=True):
            # Not the tokens of the origin: for unknown ones they are pieces of the caller's text.
            id_ = origin.ids[place]
            text = origin.id_to_token(id_)
            if origin.special[place]:
                yield Token(id_, text, 0, 0, True, type_id, sequence_index)
                continue
            sequence_index = origin.sequences[place] or 0
            convert = converters[sequence_index]
            start, end = origin.offsets[place]
            yield Token(id_, text, convert(start), convert(end), False, type_id, sequence_index)


def _converter(text: str, unit: OffsetUnit) -> Callable[[int], int]:
    codec, size = unit.value
    if unit is OffsetUnit.UNICODE or text.isascii():
        return lambda offset: offset
    sizes = (len(character.encode(codec)) // size for character in text)
    offsets = list(itertools.accumulate(sizes, initial=0))
    return lambda offset: offsets[offset]


def longer(texts: Sequence[Sequence[Any]]) -> int:
    """Which text of a pair has more tokens; of equals, and of a single text, the first."""
    return int(len(texts) > 1 and len(texts[1]) > len(texts[0]))


@dataclass(frozen=True, eq=False, slots=True)
class Windows:
    """The model's inputs for a text that is read in windows, at least one.

    `runs` are the tokens of the text in each window. `sequence_index` says which text of a pair is
    read in windows; the other stands whole in each.
    """

    encodings: Sequence[Encoding]
    runs: Sequence[range]
    sequence_index: int

    @classmethod
    def of(cls, encoding: Encoding) -> "Windows":
        """A text that fits, as one window. Needs an encoding with spans."""
        texts = encoding.origin.texts if encoding.origin else [range(0)]
        sequence_index = longer(texts)
        return cls([encoding], [range(len(texts[sequence_index]))], sequence_index)

    @property
    def total_tokens(self) -> int:
        """Number of tokens in all windows, special tokens included."""
        return sum(len(encoding.ids) for encoding in self.encodings)

    @property
    def whole_tokens(self) -> int:
        """Number of tokens of the whole text, with the special tokens of one window."""
        return len(self.encodings[0].ids) - len(self.runs[0]) + self.runs[-1].stop

    @property
    def weights(self) -> list[float]:
        """The weight of each window in a mean."""
        return weights(self.runs)

    def spans(self, unit: OffsetUnit) -> Iterator[tuple[int, int]]:
        """Where the first token of each window starts in the text, and where its last one ends."""
        origin = self.encodings[0].origin
        if origin is None:
            raise ValueError("the encoding has no spans")
        convert = origin.converters(unit)[self.sequence_index]
        place, offsets = origin.texts[self.sequence_index].start, origin.offsets
        for run in self.runs:
            start = offsets[place + run.start][0] if run else 0
            end = offsets[place + run.stop - 1][1] if run else 0
            yield convert(start), convert(end)


@dataclass(frozen=True, eq=False, slots=True)
class WholeInput:
    """Builds the inputs for runs of one text's tokens from the input for the whole text.

    `ids` and `type_ids` are those of the whole text with its special tokens, `text` the positions
    of the tokens to choose from, which are text `sequence_index` of a pair. All others stay.
    """

    ids: "array[int]"
    type_ids: bytes
    text: range
    sequence_index: int
    source: Text
    origin: Origin | None = None

    def encoding(self, run: range, truncated_tokens: int = 0) -> Encoding:
        """The input with only these tokens of the text."""
        if len(run) == len(self.text):
            return Encoding(self.ids, self.type_ids, 0, self.source, self.origin)
        start, stop = self.text.start + run.start, self.text.start + run.stop
        places = (
            range(self.text.start),
            range(start, stop),
            range(self.text.stop, len(self.ids)),
        )
        ids, type_ids = array("i"), b""
        for part in places:
            ids += self.ids[part.start : part.stop]
            type_ids += self.type_ids[part.start : part.stop]
        return Encoding(
            ids, type_ids, truncated_tokens, self.source, self.origin, places if self.origin else ()
        )

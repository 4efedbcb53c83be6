"""Pairs of which one text is read whole: queries with documents, texts with hypotheses."""

import string
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from .encoding import Text, WholeInput
from .tokenizer import Tokenizer

PROBE = string.ascii_letters + string.digits
"""A text that has a token for nearly every tokenizer."""


@dataclass(frozen=True)
class PairTemplate:
    """The special tokens before, between and behind the texts of a pair.

    `type_ids` are the token type ids of these tokens, and `text_types` those of the tokens of each
    text. So a text that stands in many pairs is tokenized once.
    """

    ids: tuple[Sequence[int], Sequence[int], Sequence[int]]
    type_ids: tuple[Sequence[int], Sequence[int], Sequence[int]]
    text_types: tuple[int, int]

    @classmethod
    def of(cls, tokenizer: Tokenizer, *, uses_token_types: bool) -> Self | None:
        """The template of a tokenizer, found in a pair of its.

        None if it takes no pairs or puts no special token between their texts.
        """
        pair = Text(PROBE, PROBE)
        [encoded] = tokenizer.encode([pair], spans=False)
        [plain] = tokenizer.encode_plain([PROBE])
        if isinstance(encoded, Exception) or isinstance(plain, Exception) or not plain:
            return None
        ids = list(encoded.ids)
        types = list(encoded.type_ids) if uses_token_types else [0] * len(ids)
        try:
            texts = tokenizer.texts_in(pair, encoded)
        except ValueError:
            return None
        if [ids[text.start : text.stop] for text in texts] != [list(plain)] * 2:
            return None
        first, second = texts
        specials = (
            slice(0, first.start),
            slice(first.stop, second.start),
            slice(second.stop, len(ids)),
        )
        before, between, behind = ((ids[part], types[part]) for part in specials)
        if not between[0]:
            return None
        return cls(
            (before[0], between[0], behind[0]),
            (before[1], between[1], behind[1]),
            (types[first.start], types[second.start]),
        )

    def pair(
        self, first: Sequence[int], second: Sequence[int], sequence_index: int, source: Text
    ) -> WholeInput:
        """A whole pair of the ids of its texts, of which text `sequence_index` may be cut."""
        ids, type_ids = array("i"), b""
        texts = []
        parts = (self.ids[0], first, self.ids[1], second, self.ids[2])
        for number, part in enumerate(parts):
            place, is_text = divmod(number, 2)
            if is_text:
                texts.append(range(len(ids), len(ids) + len(part)))
                type_ids += bytes([self.text_types[place]]) * len(part)
            else:
                type_ids += bytes(self.type_ids[place])
            ids.extend(part)
        return WholeInput(ids, type_ids, texts[sequence_index], sequence_index, source)

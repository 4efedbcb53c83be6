"""Tokenizes with a tokenizer of `transformers`, for those that are written in Python.

The server's process imports `transformers` when it receives the first of them; that loads no torch.
"""

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

from .encoding import Text
from .fitting import Truncation
from .tokenizer import Encoded

MAX_CACHED_WORDS = 10_000
"""Some tokenizers cache every word. The server clears a cache that has more."""
MAX_CACHED_CHARACTERS = 4_096
"""Length of a text after which the server clears the cache: its words may be as long."""


class Ids(NamedTuple):
    """The ids and token type ids of one text."""

    ids: list[int]
    type_ids: list[int]


class PythonTokenizer:
    """A tokenizer of `transformers`; nothing else uses this object.

    The ids are those that a call of it returns. It encodes one text at a time, since truncation is
    set on the object. It has no spans.
    """

    has_spans = False
    longest_token_bytes = 0

    def __init__(self, tokenizer: Any) -> None:
        from transformers import logging

        logging.set_verbosity_error()  # it warns of each pair that is truncated
        self._tokenizer = tokenizer
        self._lock = threading.Lock()  # guards _tokenizer

    @property
    def special_tokens_of_a_pair(self) -> int:
        """Number of special tokens that a pair gets; that a text gets, if it takes no pairs."""
        try:
            return int(self._tokenizer.num_special_tokens_to_add(pair=True))
        except ValueError:
            return int(self._tokenizer.num_special_tokens_to_add(pair=False))

    def encode(self, sources: Sequence[Text], *, spans: bool) -> list[Ids | Exception]:
        """Encode whole texts or pairs; one that fails has its exception in its place."""
        return [self._encode(source) for source in sources]

    def encode_plain(self, texts: Sequence[str]) -> list[Sequence[int] | Exception]:
        """The ids of texts without special tokens; one that fails has its exception in its
        place.
        """
        made = (self._encode(Text(text), add_special_tokens=False) for text in texts)
        return [each if isinstance(each, Exception) else each.ids for each in made]

    def truncate(
        self, source: Text, truncation: Truncation, max_tokens: int, *, spans: bool
    ) -> Ids | Exception:
        """Encode the part of a text or pair that `max_tokens` have room for."""
        side = "right" if truncation is Truncation.DROP_END else "left"
        return self._encode(source, side, truncation="longest_first", max_length=max_tokens)

    def texts_in(self, source: Text, encoded: Encoded) -> list[range]:
        """The positions of the tokens of each text in the encoding of a text or pair.

        Raises ValueError if they are not there as they are without special tokens.
        """
        texts, ids, start = [], list(encoded.ids), 0
        for plain in self.encode_plain([text for text in source if text is not None]):
            if isinstance(plain, Exception):
                raise plain
            while ids[start : start + len(plain)] != plain:
                start += 1
                if start + len(plain) > len(ids):
                    raise ValueError("the tokenizer changes tokens when it adds special ones")
            texts.append(range(start, start + len(plain)))
            start += len(plain)
        return texts

    def id_to_token(self, id_: int) -> str:
        """The entry of the vocabulary for an id."""
        return str(self._tokenizer.convert_ids_to_tokens(id_))

    def _encode(self, source: Text, side: str = "right", **options: Any) -> Ids | Exception:
        with self._lock:
            try:
                self._tokenizer.truncation_side = side
                made = self._tokenizer(*source, return_attention_mask=False, **options)
            except Exception as error:
                return error
            finally:
                self._forget_words(len(source.text) + len(source.text_pair or ""))
        ids = made["input_ids"]
        return Ids(ids, made.get("token_type_ids") or [0] * len(ids))

    def _forget_words(self, length: int) -> None:
        words = getattr(self._tokenizer, "cache", None)
        is_full = length > MAX_CACHED_CHARACTERS or len(words or ()) > MAX_CACHED_WORDS
        if isinstance(words, dict) and is_full:
            words.clear()

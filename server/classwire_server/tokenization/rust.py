"""Tokenizes with the Rust library `tokenizers`, on its own copies of the tokenizer.

Those of `transformers` are shared objects on which it sets truncation, which is not safe with
several threads.
"""

import os
import threading
from collections.abc import Sequence
from typing import Any

import tokenizers

from .encoding import Text, texts_in
from .fitting import Truncation

# While the model uses all cores, the tokenizer's own threads take a third more CPU time.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


class RustTokenizer:
    """A tokenizer in the format of tokenizer.json.

    With `split_special_tokens`, special tokens that are written out in a text are text, as for
    `transformers`.
    """

    has_spans = True

    def __init__(self, rust_json: str, *, split_special_tokens: bool = False) -> None:
        self._json = rust_json
        self._split_special_tokens = split_special_tokens
        self._untruncated = self._load()
        self._truncating: dict[tuple[Truncation, int], tokenizers.Tokenizer] = {}
        self._lock = threading.Lock()  # guards _truncating

    @property
    def longest_token_bytes(self) -> int:
        """Size of the longest entry of the vocabulary, in UTF-8 bytes."""
        vocabulary = self._untruncated.get_vocab(with_added_tokens=True)
        return max((len(text.encode()) for text in vocabulary), default=0)

    @property
    def special_tokens_of_a_pair(self) -> int:
        """Number of special tokens that a pair of texts gets."""
        return self._untruncated.num_special_tokens_to_add(is_pair=True)

    def encode(self, sources: Sequence[Text], *, spans: bool) -> list[Any]:
        """Encode whole texts or pairs; one that fails has its exception in its place."""
        return _encode(self._untruncated, sources, spans)

    def encode_plain(self, texts: Sequence[str]) -> list[Sequence[int] | Exception]:
        """The ids of texts without special tokens; one that fails has its exception in its
        place.
        """
        made = _encode(self._untruncated, [Text(text) for text in texts], False, special=False)
        return [each if isinstance(each, Exception) else each.ids for each in made]

    def truncate(
        self, source: Text, truncation: Truncation, max_tokens: int, *, spans: bool
    ) -> Any:
        """Encode the part of a text or pair that `max_tokens` have room for."""
        [encoded] = _encode(self._truncating_tokenizer(truncation, max_tokens), [source], spans)
        return encoded

    def texts_in(self, source: Text, encoded: Any) -> list[range]:
        """The positions of the tokens of each text in the encoding of a text or pair."""
        return texts_in(encoded.sequence_ids)

    def id_to_token(self, id_: int) -> str:
        """The entry of the vocabulary for an id."""
        return self._untruncated.id_to_token(id_) or ""

    def _truncating_tokenizer(
        self, truncation: Truncation, max_tokens: int
    ) -> tokenizers.Tokenizer:
        with self._lock:
            if (truncation, max_tokens) not in self._truncating:
                tokenizer = self._load()
                tokenizer.enable_truncation(
                    max_tokens,
                    strategy="longest_first",
                    direction="right" if truncation is Truncation.DROP_END else "left",
                )
                self._truncating[truncation, max_tokens] = tokenizer
            return self._truncating[truncation, max_tokens]

    def _load(self) -> tokenizers.Tokenizer:
        tokenizer = tokenizers.Tokenizer.from_str(self._json)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = self._split_special_tokens
        return tokenizer


def _encode(
    tokenizer: tokenizers.Tokenizer, sources: Sequence[Text], spans: bool, special: bool = True
) -> list[Any]:
    """Rust's encodings of the texts; one that fails has its exception in its place.

    `special` adds special tokens.
    """
    encode = tokenizer.encode_batch if spans else tokenizer.encode_batch_fast
    inputs = [source.text if source.text_pair is None else tuple(source) for source in sources]
    try:
        return list(encode(inputs, add_special_tokens=special))
    except BaseException as error:
        # A panic in Rust is a BaseException, which the handlers above would not catch.
        panicked = type(error).__name__ == "PanicException"
        if not panicked and not isinstance(error, Exception):
            raise
        if len(sources) == 1:
            return [RuntimeError("the tokenizer panicked") if panicked else error]
    return [made for source in sources for made in _encode(tokenizer, [source], spans, special)]

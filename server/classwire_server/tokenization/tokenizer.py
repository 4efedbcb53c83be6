"""What the server needs of a checkpoint's tokenizer."""

from collections.abc import Sequence
from typing import Protocol

from .encoding import Text
from .fitting import Truncation


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

    def encode_plain(self, texts: Sequence[str]) -> Sequence[Sequence[int] | Exception]:
        """The ids of texts without special tokens; one that fails has its exception in its
        place.
        """
        ...

    def truncate(
        self, source: Text, truncation: Truncation, max_tokens: int, *, spans: bool
    ) -> Encoded | Exception:
        """Encode the part of a text or pair that `max_tokens` have room for."""
        ...

    def texts_in(self, source: Text, encoded: Encoded) -> Sequence[range]:
        """The positions of the tokens of each text in the encoding of a text or pair."""
        ...

    def id_to_token(self, id_: int) -> str:
        """The entry of the vocabulary for an id."""
        ...

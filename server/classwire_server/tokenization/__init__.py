"""Text to Encoding: the ids that the model receives, and the span of each token in the text."""

from array import array
from collections.abc import Sequence
from functools import cached_property
from typing import overload

from classwire.contract.reasons import Reason
from classwire_server.errors import ConfigError, RequestError
from classwire_server.windows import WindowPlan

from .encoding import Encoding, OffsetUnit, Origin, Text, Token, WholeInput, Windows, longer
from .fitting import Fit, Truncation, fit_text, too_many_tokens
from .pairs import PairTemplate
from .tokenizer import Encoded, Tokenizer

__all__ = [
    "Encoding",
    "Fit",
    "OffsetUnit",
    "PairTemplate",
    "Text",
    "Token",
    "Tokenization",
    "Tokenized",
    "Tokenizer",
    "Truncation",
    "Windows",
    "tokens_made",
]

Tokenized = Encoding | Windows | Exception
"""A text's input to the model, in windows where it has more tokens than one, or its error."""


def tokens_made(outcome: Tokenized) -> int:
    """Number of tokens that the server made of a text, also of one that it then rejected."""
    if isinstance(outcome, Encoding):
        return len(outcome.ids)
    if isinstance(outcome, Windows):
        return outcome.total_tokens
    return outcome.tokens if isinstance(outcome, RequestError) else 0


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
        self.special_tokens_of_a_pair = tokenizer.special_tokens_of_a_pair
        if max_tokens <= self.special_tokens_of_a_pair:
            raise ConfigError(
                "max_tokens",
                f"{max_tokens} leaves no room for text after {self.special_tokens_of_a_pair} "
                "special tokens",
            )

    @property
    def has_spans(self) -> bool:
        """Whether encodings can have spans."""
        return self._tokenizer.has_spans

    @property
    def longest_token_bytes(self) -> int:
        """Size of the longest entry of the vocabulary, in UTF-8 bytes."""
        return self._tokenizer.longest_token_bytes

    @cached_property
    def pair_template(self) -> PairTemplate | None:
        """The special tokens of pairs. None if the model takes no pairs, or the tokenizer puts no
        special token between their texts.
        """
        if not self._takes_pairs:
            return None
        return PairTemplate.of(self._tokenizer, uses_token_types=self._uses_token_types)

    @overload
    def encode(self, source: Text, fit: Truncation | None, field: str) -> Encoding: ...

    @overload
    def encode(self, source: Text, fit: Fit, field: str) -> Encoding | Windows: ...

    def encode(self, source: Text, fit: Fit | None, field: str) -> Encoding | Windows:
        """Encode one text or pair, with spans if the tokenizer has them.

        Raises RequestError, naming `field` or text_pair: TOO_MANY_TOKENS if the text is longer than
        the model accepts and truncation is REJECT, or has too many windows; BAD_OPTION for a pair
        if the model takes none; EMPTY_TEXT if it has no token; INTERNAL if it has a token that the
        model does not know.
        """
        [encoding] = self.encode_all([source], fit, spans=self.has_spans)
        if isinstance(encoding, RequestError) and encoding.field == "text":
            encoding.field = field
        if isinstance(encoding, Exception):
            raise encoding
        return encoding

    def encode_all(
        self, sources: Sequence[Text], fit: Fit | None, *, spans: bool
    ) -> list[Tokenized]:
        """Encode texts or pairs; one that fails has its exception in its place.

        `fit` is what to do with texts that do not fit, None for the default; only with a WindowPlan
        are they read in windows. The errors are those that `encode` raises, with `field` relative
        to their input.
        """
        fit = fit or self.default_truncation
        return [
            self._outcome(source, encoded, fit, spans)
            for source, encoded in zip(
                sources, self._tokenizer.encode(sources, spans=spans), strict=True
            )
        ]

    def encode_plain(self, texts: Sequence[str]) -> Sequence[Sequence[int] | Exception]:
        """The ids of texts without special tokens; one that fails has its exception in its place,
        which is RequestError INTERNAL for a token that the model does not know.
        """
        made = self._tokenizer.encode_plain(texts)
        return [ids if isinstance(ids, Exception) else self._unknown(ids) or ids for ids in made]

    def fit_pair(self, pair: WholeInput, fit: Fit, spare_tokens: int = 0) -> Tokenized:
        """The input for a pair of which one text may be cut, with `spare_tokens` less of it than
        the other text leaves. Errors are those of `fit_text`.
        """
        max_tokens = fit.tokens if isinstance(fit, WindowPlan) else self.max_tokens
        room = max_tokens - spare_tokens - (len(pair.ids) - len(pair.text))
        return fit_text(pair, room, max_tokens, fit)

    def _outcome(
        self, source: Text, encoded: Encoded | Exception, fit: Fit, spans: bool
    ) -> Tokenized:
        if isinstance(encoded, Exception):
            return encoded
        if source.text_pair is not None and not self._takes_pairs:
            problem = "the model takes single texts, and this is a pair"
            return RequestError(Reason.BAD_OPTION, problem, field="text_pair")
        ids = encoded.ids
        tokens = len(ids)
        if tokens == 0:
            return RequestError(
                Reason.EMPTY_TEXT, "the tokenizer leaves no token of the text", field="text"
            )
        if isinstance(fit, WindowPlan):
            if tokens > fit.tokens:
                return self._unknown(ids) or self._windows(source, encoded, fit, spans)
        elif tokens > self.max_tokens:
            if fit not in (Truncation.DROP_END, Truncation.DROP_START):
                return too_many_tokens(tokens, self.max_tokens)
            encoded = self._tokenizer.truncate(source, fit, self.max_tokens, spans=spans)
            if isinstance(encoded, Exception):
                return encoded
            ids = encoded.ids
        if unknown := self._unknown(ids):
            return unknown
        type_ids = encoded.type_ids if self._uses_token_types else [0] * len(ids)
        origin = Origin(source, encoded, self._tokenizer) if spans else None
        return Encoding(ids, type_ids, tokens - len(ids), source, origin)

    def _windows(self, source: Text, encoded: Encoded, plan: WindowPlan, spans: bool) -> Tokenized:
        try:
            texts = self._tokenizer.texts_in(source, encoded)
        except Exception as error:
            return error
        ids = array("i", encoded.ids)
        type_ids = bytes(encoded.type_ids) if self._uses_token_types else bytes(len(ids))
        number = longer(texts)
        origin = Origin(source, encoded, self._tokenizer) if spans else None
        whole = WholeInput(ids, type_ids, texts[number], number, source, origin)
        room = plan.tokens - (len(ids) - len(texts[number]))
        return fit_text(whole, room, plan.tokens, plan)

    def _unknown(self, ids: Sequence[int]) -> RequestError | None:
        """The error of a text with a token that the model does not know."""
        if self._known_ids is None or max(ids, default=0) < self._known_ids:
            return None
        return RequestError(
            Reason.INTERNAL,
            "the text has a token without an embedding: the checkpoint's tokenizer has more "
            "tokens than its model",
        )

"""The texts of a type: of several lengths, with special tokens, at the limit, and a pair."""

from dataclasses import dataclass
from typing import Any

from .vocabularies import AMINO_ACIDS

PROSE = (
    "ok",
    "I really love this book",
    "It's fine, I suppose.",
    "The hotel room was clean but the breakfast was cold",
    "Das Buch ist gut. 这本书很好 €",
)
PROTEINS = ("MK", "MKTAYIAKQR", "GSHMASMTGGQQMGRGSEF", "LAGVSERTIDPKQNFYMHWC", "KKKAAARRRWWW")
FOREIGN = {"esm", "esmc"}
"""Types that read proteins."""
SPECIALS = 6
"""How many of a tokenizer's special tokens are written out."""


@dataclass(frozen=True)
class Sample:
    """A text or pair, and what it is for: plain, specials, padding, limit or pair."""

    kind: str
    text: str
    text_pair: str | None = None

    @property
    def arguments(self) -> tuple[str, ...]:
        """What the tokenizer is called with."""
        return (self.text,) if self.text_pair is None else (self.text, self.text_pair)


def samples(model_type: str, tokenizer: Any) -> list[Sample]:
    """Return the texts of a type, but for the one at the limit."""
    plain = PROTEINS if model_type in FOREIGN else PROSE
    found = [Sample("plain", text) for text in plain]
    pad = tokenizer.pad_token
    written = [token for token in dict.fromkeys(tokenizer.all_special_tokens) if token != pad]
    if written:
        parts = plain[1].split() if " " in plain[1] else [plain[1], plain[0]]
        text = " ".join(
            part
            for index, token in enumerate(written[:SPECIALS])
            for part in (parts[index % len(parts)], token)
        )
        found.append(Sample("specials", f"{text} {plain[0]}"))
    if pad:
        found.append(Sample("padding", f"{plain[0]} {pad} {plain[1]}"))
    found.append(Sample("pair", plain[1], plain[2]))
    return found


def of_length(model_type: str, tokenizer: Any, tokens: int) -> str | None:
    """Return a text that the tokenizer turns into this many tokens, or None."""
    if model_type in FOREIGN:
        source = AMINO_ACIDS[:20] * (tokens // 20 + 1)
    else:
        source = (
            " ".join(PROSE[:4]) + " " + "The staff lost my book twice a day. " * (tokens // 6 + 1)
        )
    for end in range(1, len(source) + 1):
        text = source[:end]
        if not text.endswith(" ") and len(tokenizer(text).input_ids) == tokens:
            return text
    return None

"""Cuts the pretrained vocabulary to what English reviews need."""

import unicodedata
from collections import Counter
from collections.abc import Sequence

from transformers import BertTokenizer


def useful_pieces(tokenizer: BertTokenizer, texts: Sequence[str], size: int) -> list[int]:
    """Return `size` ids of word pieces, in rising order.

    In this order until there are enough: special tokens; single ASCII characters, so that any
    English word has pieces, and marks such as dashes and currency signs; pieces that occur at least
    twice in the texts; ASCII pieces from the vocabulary's start, where the frequent ones are.
    """
    ids = tokenizer.get_vocab()
    pieces = sorted(ids.keys() - set(tokenizer.all_special_tokens), key=lambda piece: ids[piece])
    counts: Counter[int] = Counter()
    for row in tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]:
        counts.update(row)
    kept = [
        *sorted(tokenizer.all_special_ids),
        *(ids[piece] for piece in pieces if _is_character(piece)),
        *(index for index, times in counts.most_common() if times >= 2),
        *(ids[piece] for piece in pieces if piece.isascii() and not piece.startswith("[unused")),
    ]
    return sorted(list(dict.fromkeys(kept))[:size])


def _is_character(piece: str) -> bool:
    character = piece.removeprefix("##")
    if len(character) != 1:
        return False
    return character.isascii() or unicodedata.category(character)[0] == "P" or character in "€£¥°"


def cut_tokenizer(tokenizer: BertTokenizer, kept: Sequence[int]) -> BertTokenizer:
    """Return a tokenizer that has only the pieces `kept`; ids are their positions."""
    pieces = tokenizer.convert_ids_to_tokens(list(kept))
    return BertTokenizer(
        vocab={piece: index for index, piece in enumerate(pieces)},
        do_lower_case=True,
        model_max_length=tokenizer.model_max_length,
    )

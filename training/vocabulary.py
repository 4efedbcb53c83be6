"""The checkpoint's own WordPiece vocabulary and tokenizer."""

from collections.abc import Sequence
from pathlib import Path

from tokenizers import BertWordPieceTokenizer
from transformers import BertTokenizer

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MAX_TOKENS = 512


def train_tokenizer(texts: Sequence[str], size: int, folder: Path) -> BertTokenizer:
    """Learn at most `size` lowercase word pieces and leave the tokenizer's files in `folder`."""
    learner = BertWordPieceTokenizer(lowercase=True)
    learner.train_from_iterator(
        texts,
        vocab_size=size,
        min_frequency=3,
        special_tokens=list(SPECIAL_TOKENS),
        show_progress=False,
    )
    pieces = sorted(learner.get_vocab().items(), key=lambda item: item[1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text(
        "".join(f"{piece}\n" for piece, _ in pieces), encoding="utf-8"
    )
    tokenizer = BertTokenizer(vocab=dict(pieces), do_lower_case=True, model_max_length=MAX_TOKENS)
    tokenizer.save_pretrained(folder)
    return tokenizer

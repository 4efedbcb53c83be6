"""Fine-tunes an encoder on stars, with or without a teacher."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor
from transformers import BertForSequenceClassification, BertTokenizer

from training.augmentation import Words, view
from training.batching import batches
from training.data import STARS, Review
from training.labels import class_weights, labels_of
from training.metrics import Labels, Probabilities, quality, selection_score
from training.stages import Log


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of fine-tuning.

    `neighbour_share` is the share of a label's weight for the neighbouring stars, `teacher_share`
    the teacher's share of the target, `masked_share` the share of masked word pieces, `balance` the
    power of the inverse class frequency that weighs an example, `averaging` the share of the mean
    weights that stays at each step.
    """

    epochs: int
    learning_rate: float
    teacher_share: float = 0.0
    batch_tokens: int = 2048
    max_tokens: int = 160
    balance: float = 0.5
    neighbour_share: float = 0.15
    masked_share: float = 0.05
    averaging: float = 0.995


@dataclass(frozen=True)
class Classifier:
    """A model and its tokenizer."""

    model: BertForSequenceClassification
    tokenizer: BertTokenizer

    def predict(self, texts: Sequence[str]) -> Probabilities:
        """Return class probabilities `(texts, classes)`; truncates texts at 512 tokens."""
        self.model.eval()
        examples = self.tokenizer(list(texts), truncation=True)["input_ids"]
        answer = np.zeros((len(texts), len(STARS)))
        with torch.inference_mode():
            for batch in batches(examples, tokens=4096):
                logits = self.model(
                    batch.input_ids, attention_mask=batch.attention_mask
                ).logits  # (texts, classes)
                answer[batch.rows] = logits.softmax(dim=-1).numpy()
        return answer


def ordinal_targets(labels: Labels, neighbour_share: float) -> Probabilities:
    """Return soft targets `(texts, classes)`: the label minus a share for neighbouring stars."""
    classes = np.arange(len(STARS))
    neighbours = (np.abs(classes[None, :] - labels[:, None]) == 1).astype(float)  # (texts, classes)
    neighbours /= neighbours.sum(axis=1, keepdims=True)
    exact = np.eye(len(STARS))[labels]
    answer: Probabilities = (1 - neighbour_share) * exact + neighbour_share * neighbours
    return answer


def masked(
    input_ids: Tensor, tokenizer: BertTokenizer, share: float, generator: torch.Generator
) -> Tensor:
    """Mask a share of the pieces, so that single words matter less; `(texts, tokens)` in and out.

    It masks no special tokens.
    """
    special = torch.isin(input_ids, torch.tensor(tokenizer.all_special_ids))
    chosen = (torch.rand(input_ids.shape, generator=generator) < share) & ~special
    return input_ids.masked_fill(chosen, tokenizer.mask_token_id)


def rate(progress: float, warmup: float = 0.06) -> float:
    """Return the factor of the learning rate: linear warm-up, then linear decay to zero."""
    return progress / warmup if progress < warmup else (1 - progress) / (1 - warmup)


def finetune(
    start: Classifier,
    train: Sequence[Review],
    validation: Sequence[Review],
    words: Words,
    recipe: Recipe,
    *,
    seed: int,
    log: Log,
    teacher: Classifier | None = None,
) -> Classifier:
    """Train `start` in place and return it with the mean of its weights over the last steps.

    The word embeddings stay as they are, so that words outside the reviews keep their relation to
    those inside. The teacher scores the same views as the student reads. `seed` determines views,
    order, masks and dropout. The log reports quality on validation, which training does not use.
    """
    model, tokenizer = start.model, start.tokenizer
    torch.manual_seed(seed)
    model.bert.embeddings.word_embeddings.weight.requires_grad_(False)
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(recipe.averaging)
    )
    averaged = Classifier(cast(BertForSequenceClassification, average.module), tokenizer)

    labels = labels_of(train)
    exact = ordinal_targets(labels, recipe.neighbour_share)
    weight_of = class_weights(labels, recipe.balance)
    weights = torch.tensor([weight_of[int(label)] for label in labels], dtype=torch.float32)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=recipe.learning_rate, weight_decay=0.01, fused=True)

    order, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    truth, texts = labels_of(validation), [review.full_text for review in validation]
    for epoch in range(recipe.epochs):
        views = [view(review, words, order) for review in train]
        targets = exact
        if teacher is not None:
            share = recipe.teacher_share
            targets = (1 - share) * exact + share * teacher.predict(views)
        wanted = torch.tensor(targets, dtype=torch.float32)
        examples = tokenizer(views, truncation=True, max_length=recipe.max_tokens)["input_ids"]
        deck = list(batches(examples, recipe.batch_tokens, order))
        model.train()
        total = 0.0
        for index, batch in enumerate(deck):
            progress = (epoch + index / len(deck)) / recipe.epochs
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * rate(progress)
            logits = model(
                masked(batch.input_ids, tokenizer, recipe.masked_share, generator),
                attention_mask=batch.attention_mask,
            ).logits  # (texts, classes)
            losses = -(wanted[batch.rows] * logits.log_softmax(dim=-1)).sum(dim=-1)  # (texts,)
            loss = (weights[batch.rows] * losses).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            average.update_parameters(model)
            total += loss.item()
            if index % 50 == 49:
                mean = total / (index + 1)
                log(f"epoch {epoch + 1} batch {index + 1}/{len(deck)} loss {mean:.3f}")
        measured = quality(truth, averaged.predict(texts).argmax(axis=1))
        log(
            f"epoch {epoch + 1}/{recipe.epochs} loss {total / len(deck):.3f} "
            f"validation {measured.rounded()} selection {selection_score(measured):.4f}"
        )
    averaged.model.eval()
    return averaged


def best_layers(
    classifier: Classifier,
    validation: Sequence[Review],
    smaller: Callable[[tuple[int, ...]], BertForSequenceClassification],
    candidates: Sequence[tuple[int, ...]],
    log: Log,
) -> tuple[int, ...]:
    """Return the candidate whose layers alone agree best with the whole classifier.

    `smaller` makes a model with only these layers. Agreement is the cross-entropy between both
    predictions on the validation texts.
    """
    texts = [review.full_text for review in validation]
    whole = classifier.predict(texts)
    found: dict[tuple[int, ...], float] = {}
    for kept in candidates:
        predicted = Classifier(smaller(kept), classifier.tokenizer).predict(texts)
        found[kept] = float(-(whole * np.log(predicted)).sum(axis=1).mean())
        log(f"layers {kept}: cross-entropy {found[kept]:.4f}")
    return min(found, key=lambda kept: found[kept])

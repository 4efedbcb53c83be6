"""Fine-tunes the pretrained encoder on stars."""

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor
from transformers import BertForMaskedLM, BertForSequenceClassification, BertTokenizer

from training.baseline import class_weights, labels_of
from training.batching import batches
from training.data import STARS, Review, join
from training.evaluation import Labels, Probabilities, quality, selection_score
from training.pretraining import rate

HEAD_SEED = 0

Log = Callable[[str], None]


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of fine-tuning. The README lists the compared ones.

    `neighbour_share` is the share of a label's weight for the neighbouring stars, `teacher_share`
    the teacher's share of the target, `replaced_share` the share of masked or swapped word pieces,
    `balance` the power of the inverse class frequency that weighs an example.
    """

    epochs: int = 4
    learning_rate: float = 5e-4
    batch_tokens: int = 2048
    balance: float = 0.5
    neighbour_share: float = 0.15
    teacher_share: float = 0.4
    replaced_share: float = 0.1
    dropout: float = 0.1
    averaging: float = 0.998


def view(review: Review, generator: random.Random) -> str:
    """Return one view of a review: mostly whole, else its text, its title or a few sentences."""
    fate = generator.random()
    if fate < 0.6:
        return review.full_text
    if fate < 0.72:
        return review.text
    if fate < 0.84 and review.title:
        return review.title
    sentences = review.sentences
    first = generator.randrange(len(sentences))
    chosen = " ".join(sentences[first : first + generator.randint(1, 3)])
    return join(review.title, chosen) if generator.random() < 0.3 else chosen


def ordinal_targets(labels: Labels, neighbour_share: float) -> Probabilities:
    """Return soft targets `(texts, classes)`: the label minus a share for neighbouring stars."""
    classes = np.arange(len(STARS))
    neighbours = (np.abs(classes[None, :] - labels[:, None]) == 1).astype(float)  # (texts, classes)
    neighbours /= neighbours.sum(axis=1, keepdims=True)
    exact = np.eye(len(STARS))[labels]
    answer: Probabilities = (1 - neighbour_share) * exact + neighbour_share * neighbours
    return answer


def noise(
    input_ids: Tensor, tokenizer: BertTokenizer, share: float, generator: torch.Generator
) -> Tensor:
    """Mask or swap a share of the pieces, half each; `(texts, tokens)` in and out.

    This noise makes the classifier depend less on single words.
    """
    special = torch.isin(input_ids, torch.tensor(tokenizer.all_special_ids))
    fate = torch.rand(input_ids.shape, generator=generator)
    answer = input_ids.clone()
    answer[(fate < share / 2) & ~special] = tokenizer.mask_token_id
    swapped = (fate >= share / 2) & (fate < share) & ~special
    answer[swapped] = torch.randint(5, len(tokenizer), (int(swapped.sum()),), generator=generator)
    return answer


def predict(
    model: BertForSequenceClassification, tokenizer: BertTokenizer, texts: Sequence[str]
) -> Probabilities:
    """Return class probabilities `(texts, classes)`; truncates texts at the tokenizer's limit."""
    model.eval()
    examples = tokenizer(list(texts), truncation=True)["input_ids"]
    answer = np.zeros((len(texts), len(STARS)))
    with torch.inference_mode():
        for batch in batches(examples, tokens=8192):
            logits = model(
                batch.input_ids, attention_mask=batch.attention_mask
            ).logits  # (texts, classes)
            answer[batch.rows] = logits.softmax(dim=-1).numpy()
    return answer


def finetune(
    train: Sequence[Review],
    validation: Sequence[Review],
    tokenizer: BertTokenizer,
    pretrained: BertForMaskedLM,
    recipe: Recipe,
    *,
    seed: int,
    log: Log,
    teacher: Probabilities | None = None,
) -> BertForSequenceClassification:
    """Train a classifier on a copy of the pretrained encoder; return averaged weights.

    `teacher` is `(len(train), classes)`, with the recipe's class balance. `seed` determines views,
    order, noise and dropout; the new layers always start equal, so that runs can be averaged. The
    log reports quality on the validation split, which training does not use.
    """
    torch.manual_seed(HEAD_SEED)
    config = copy.deepcopy(pretrained.config)
    config.hidden_dropout_prob = recipe.dropout
    model = BertForSequenceClassification(config)
    model.bert.load_state_dict(pretrained.bert.state_dict(), strict=False)
    torch.manual_seed(seed)
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(recipe.averaging)
    )

    labels = labels_of(train)
    targets = ordinal_targets(labels, recipe.neighbour_share)
    if teacher is not None:
        targets = (1 - recipe.teacher_share) * targets + recipe.teacher_share * teacher
    weight_of = class_weights(labels, recipe.balance)
    weights = torch.tensor([weight_of[int(label)] for label in labels], dtype=torch.float32)
    wanted = torch.tensor(targets, dtype=torch.float32)

    order, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=0.01, fused=True
    )
    truth, texts = labels_of(validation), [review.full_text for review in validation]
    for epoch in range(recipe.epochs):
        examples = tokenizer(
            [view(review, order) for review in train], truncation=True, max_length=192
        )["input_ids"]
        deck = list(batches(examples, recipe.batch_tokens, order))
        model.train()
        total = 0.0
        for index, batch in enumerate(deck):
            progress = (epoch + index / len(deck)) / recipe.epochs
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * rate(
                    int(progress * 10_000), 10_000, warmup=500
                )
            logits = model(
                noise(batch.input_ids, tokenizer, recipe.replaced_share, generator),
                attention_mask=batch.attention_mask,
                position_ids=batch.position_ids,
            ).logits  # (texts, classes)
            losses = -(wanted[batch.rows] * logits.log_softmax(dim=-1)).sum(dim=-1)  # (texts,)
            loss = (weights[batch.rows] * losses).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            average.update_parameters(model)
            total += loss.item()
        averaged = cast(BertForSequenceClassification, average.module)
        measured = quality(truth, predict(averaged, tokenizer, texts).argmax(axis=1))
        log(
            f"fine-tuning seed {seed} epoch {epoch + 1}/{recipe.epochs} "
            f"loss {total / len(deck):.3f} validation {measured.rounded()} "
            f"selection {selection_score(measured):.4f}"
        )
    average.module.eval()
    return cast(BertForSequenceClassification, average.module)


def mean_weights(
    models: Sequence[BertForSequenceClassification],
) -> BertForSequenceClassification:
    """Return a model with the mean of the models' weights; they must have started equal.

    Wortsman et al. 2022, "Model soups".
    """
    answer = copy.deepcopy(models[0])
    states = [model.state_dict() for model in models]
    answer.load_state_dict(
        {name: torch.stack([state[name] for state in states]).mean(dim=0) for name in states[0]}
    )
    return answer


def balance_bias(probabilities: Probabilities, truth: Labels, step: float = 0.05) -> Probabilities:
    """Return class offsets `(classes,)` for the logits, by hill climbing on the selection score.

    Each step moves one class by one or four increments, at most 1 in total, while the score grows.
    """
    logits = np.log(probabilities)
    offsets = np.zeros(len(STARS))

    def score(candidate: Probabilities) -> float:
        return selection_score(quality(truth, (logits + candidate).argmax(axis=1)))

    best, grew = score(offsets), True
    while grew:
        grew = False
        for label in range(len(STARS)):
            for change in (-4 * step, -step, step, 4 * step):
                candidate = offsets.copy()
                candidate[label] += change
                if abs(candidate[label]) <= 1.0 and (found := score(candidate)) > best + 1e-9:
                    best, offsets, grew = found, candidate, True
    return offsets

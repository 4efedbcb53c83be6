"""Masked-language pretraining on the texts of the train split."""

import copy
import math
import random
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM, BertTokenizer

from training.batching import batches
from training.cooccurrence import frequencies, vectors

MASKED_SHARE = 0.2
IGNORED = -100

Log = Callable[[str], None]


def mask(
    input_ids: Tensor, tokenizer: BertTokenizer, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mask a share of the tokens; returns inputs and targets, both `(texts, tokens)`.

    80 % become `[MASK]`, 10 % a random piece, 10 % stay; targets of other tokens are `IGNORED`
    (Devlin et al. 2019, section 3.1).
    """
    special = torch.isin(input_ids, torch.tensor(tokenizer.all_special_ids))
    chosen = (torch.rand(input_ids.shape, generator=generator) < MASKED_SHARE) & ~special
    fate = torch.rand(input_ids.shape, generator=generator)
    seen = input_ids.clone()
    seen[chosen & (fate < 0.8)] = tokenizer.mask_token_id
    swapped = chosen & (fate >= 0.9)
    seen[swapped] = torch.randint(5, len(tokenizer), (int(swapped.sum()),), generator=generator)
    return seen, torch.where(chosen, input_ids, IGNORED)


def rate(step: int, steps: int, warmup: int) -> float:
    """Return the share of the peak learning rate: linear warm-up, then half a cosine down to 0."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def pretrain(
    texts: Sequence[str],
    tokenizer: BertTokenizer,
    config: BertConfig,
    *,
    epochs: int,
    seed: int,
    log: Log,
    learning_rate: float = 1e-3,
    batch_tokens: int = 2048,
) -> BertForMaskedLM:
    """Train a masked-language model, whose encoder fine-tuning starts from.

    Without dropout, since few epochs hardly overfit.
    """
    torch.manual_seed(seed)
    config = copy.deepcopy(config)
    config.hidden_dropout_prob = 0.0
    model = BertForMaskedLM(config)
    model.train()
    generator, order = torch.Generator().manual_seed(seed), random.Random(seed)
    examples = tokenizer(list(texts), truncation=True, max_length=160)["input_ids"]
    with torch.no_grad():
        words = model.bert.embeddings.word_embeddings.weight
        words.copy_(torch.from_numpy(vectors(examples, len(tokenizer), config.hidden_size, seed)))
        model.cls.predictions.bias.copy_(torch.from_numpy(frequencies(examples, len(tokenizer))))
    log("pretraining: embeddings initialised from word vectors")
    steps = epochs * sum(1 for _ in batches(examples, batch_tokens, random.Random(0)))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, weight_decay=0.01, betas=(0.9, 0.98), fused=True
    )
    step = 0
    for epoch in range(epochs):
        total = 0.0
        count = 0
        for batch in batches(examples, batch_tokens, order):
            seen, hidden = mask(batch.input_ids, tokenizer, generator)
            states = model.bert(
                seen, attention_mask=batch.attention_mask, position_ids=batch.position_ids
            )
            chosen = hidden != IGNORED  # (texts, tokens)
            guesses = model.cls(states.last_hidden_state[chosen])  # (hidden pieces, vocabulary)
            loss = torch.nn.functional.cross_entropy(guesses, hidden[chosen])
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * rate(step, steps, warmup=100)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total, count, step = total + loss.item(), count + 1, step + 1
            if step % 50 == 0:
                log(
                    f"pretraining step {step}/{steps} epoch {epoch + 1}/{epochs} "
                    f"loss {total / count:.3f}"
                )
    return model

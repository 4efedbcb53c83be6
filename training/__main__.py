"""Make the embedded checkpoint: `python -m training --data FOLDER --output FOLDER`."""

import argparse
import json
import math
import os
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from transformers import BertForSequenceClassification, logging

from training import baseline, card, checkpoint, report
from training.architecture import bert_config
from training.data import load_reviews, split_by_group
from training.evaluation import quality, selection_score
from training.finetuning import Recipe, balance_bias, finetune, mean_weights, predict
from training.pretraining import pretrain
from training.stages import Stages
from training.vocabulary import train_tokenizer

SEED = 1
VOCABULARY_SIZE = 6000
PRETRAINING_EPOCHS = 6
FINETUNING_SEEDS = (1, 2)


def parse() -> argparse.Namespace:
    """Parse the command line; the data folder may also come from the environment."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    known = os.environ.get("CLASSWIRE_TRAINING_DATA")
    add = parser.add_argument
    add("--data", type=Path, default=known, required=not known, help="folder with reviews.jsonl")
    add("--output", type=Path, required=True, help="folder of the checkpoint to write")
    add("--keep", type=Path, help="folder that keeps results of steps for later runs")
    add("--threads", type=int, default=1, help="torch threads (default 1)")
    arguments = parser.parse_args()
    if not (arguments.data / "reviews.jsonl").is_file():
        parser.error("--data must be a folder with reviews.jsonl; or set CLASSWIRE_TRAINING_DATA")
    return arguments


def main() -> None:
    """Run every step, measure the stored checkpoint, and write results, card and tables."""
    arguments = parse()
    started = time.monotonic()
    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True)
    logging.disable_progress_bar()

    def log(line: str) -> None:
        print(f"{time.monotonic() - started:7.0f} s  {line}", flush=True)

    stages = Stages(arguments.keep, log)
    split = split_by_group(load_reviews(arguments.data))
    train, validation = split.train, split.validation
    log(f"reviews: {len(train)} train, {len(validation)} validation, {len(split.test)} test")

    runs = stages.run("baselines", lambda: baseline.tune(train, validation, split.test, log))
    best = max(runs, key=lambda run: selection_score(run.validation))
    baselines = {"TF-IDF and logistic regression": best}
    for aim, run in {
        "macro-F1": max(runs, key=lambda run: run.validation.macro_f1),
        "absolute error": min(runs, key=lambda run: run.validation.mean_absolute_error),
    }.items():
        if run is not best:
            baselines[f"the same, tuned for {aim} alone"] = run

    recipe = Recipe()
    alike = [run for run in runs if run.setting.balance == recipe.balance]
    setting = max(alike, key=lambda run: selection_score(run.validation)).setting
    teacher = stages.run("teacher", lambda: baseline.out_of_fold(train, setting, 5, SEED, log))

    texts = [review.full_text for review in train]
    tokenizer = train_tokenizer(texts, VOCABULARY_SIZE, arguments.output)
    config = bert_config(len(tokenizer))
    encoder = stages.run(
        "encoder",
        lambda: pretrain(texts, tokenizer, config, epochs=PRETRAINING_EPOCHS, seed=SEED, log=log),
    )

    def classifier(seed: int) -> BertForSequenceClassification:
        return finetune(
            train, validation, tokenizer, encoder, recipe, seed=seed, log=log, teacher=teacher
        )

    candidates = {
        f"seed {seed}": stages.run(f"classifier-{seed}", partial(classifier, seed))
        for seed in FINETUNING_SEEDS
    }
    candidates["mean of their weights"] = mean_weights(list(candidates.values()))

    truth = baseline.labels_of(validation)
    best_score = -math.inf
    for name, candidate in candidates.items():
        probabilities = predict(candidate, tokenizer, [review.full_text for review in validation])
        found = balance_bias(probabilities, truth)
        measured = quality(truth, (np.log(probabilities) + found).argmax(axis=1))
        log(f"{name}: offsets {found.round(2).tolist()} validation {measured.rounded()}")
        if selection_score(measured) > best_score:
            best_score = selection_score(measured)
            chosen, model, offsets = name, candidate, found
    with torch.no_grad():
        model.classifier.bias.add_(torch.from_numpy(offsets).float())
    checkpoint.store(model, arguments.output)

    made = {
        "minutes": round(sum(stages.seconds.values()) / 60, 1),
        "seconds_by_step": {name: round(seconds) for name, seconds in stages.seconds.items()},
        "weights": chosen,
        "class_offsets": offsets.round(2).tolist(),
    }
    results = report.measure(arguments.output, split, baselines, made)
    card.RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    card.write(results, arguments.output)
    log("measured on held-out products: " + json.dumps(results["test"]["this checkpoint"]))


if __name__ == "__main__":
    main()

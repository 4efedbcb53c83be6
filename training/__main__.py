"""Make the embedded checkpoint: `python -m training --data FOLDER --output FOLDER`."""

import argparse
import json
import os
import time
from pathlib import Path

import torch
from transformers import logging

from training import baseline, card, checkpoint, report
from training.architecture import bert_config
from training.data import load_reviews, split_by_group
from training.evaluation import selection_score
from training.finetuning import Recipe, balance_bias, finetune, predict
from training.pretraining import pretrain
from training.vocabulary import train_tokenizer

SEED = 1
VOCABULARY_SIZE = 6000
PRETRAINING_EPOCHS = 6


def parse() -> argparse.Namespace:
    """The command line; the data folder may also come from the environment."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    known = os.environ.get("CLASSWIRE_TRAINING_DATA")
    parser.add_argument(
        "--data", type=Path, default=known, required=not known, help="folder with reviews.jsonl"
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="folder of the checkpoint to write"
    )
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default 1)")
    return parser.parse_args()


def main() -> None:
    """Run every step in order, measure what was stored, and write results, card and tables."""
    arguments = parse()
    started = time.monotonic()
    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True)
    logging.disable_progress_bar()

    def log(line: str) -> None:
        print(f"{time.monotonic() - started:7.0f} s  {line}", flush=True)

    split = split_by_group(load_reviews(arguments.data))
    log(
        f"reviews: {len(split.train)} train, {len(split.validation)} validation, {len(split.test)} test"
    )
    texts = [review.full_text for review in split.train]
    truth = baseline.labels_of(split.validation)

    runs = baseline.tune(split.train, split.validation, split.test, log)
    best = max(runs, key=lambda run: selection_score(run.validation))
    baselines = {
        "TF-IDF and logistic regression": best,
        "the same, tuned for macro-F1 alone": max(runs, key=lambda run: run.validation.macro_f1),
        "the same, tuned for absolute error alone": min(
            runs, key=lambda run: run.validation.mean_absolute_error
        ),
    }
    recipe = Recipe()
    teacher = baseline.out_of_fold(split.train, best.setting, folds=5, seed=SEED, log=log)

    tokenizer = train_tokenizer(texts, VOCABULARY_SIZE, arguments.output)
    config = bert_config(len(tokenizer))
    pretrained = pretrain(texts, tokenizer, config, epochs=PRETRAINING_EPOCHS, seed=SEED, log=log)
    model = finetune(
        split.train,
        split.validation,
        tokenizer,
        pretrained,
        recipe,
        seed=SEED,
        log=log,
        teacher=teacher,
    )
    probabilities = predict(model, tokenizer, [review.full_text for review in split.validation])
    offsets = balance_bias(probabilities, truth)
    log(f"class offsets folded into classifier.bias: {offsets.round(2).tolist()}")
    with torch.no_grad():
        model.classifier.bias.add_(torch.from_numpy(offsets).float())

    checkpoint.store(model, arguments.output)
    made = {"minutes": round((time.monotonic() - started) / 60, 1), "seed": SEED}
    results = report.measure(arguments.output, split, baselines, made)
    report_text = json.dumps(results, indent=2, ensure_ascii=False) + "\n"
    card.RESULTS.write_text(report_text, encoding="utf-8")
    card.write(results, arguments.output)
    log("measured: " + json.dumps(results["test"]["this checkpoint"]))


if __name__ == "__main__":
    main()

"""Make the embedded checkpoint: `python -m training --data FOLDER --output FOLDER`."""

import argparse
import itertools
import json
import os
import time
from functools import partial
from pathlib import Path

import torch
from transformers import logging

from training import baseline, card, checkpoint, evaluation
from training.augmentation import learn_words
from training.calibration import calibrate
from training.data import load_reviews, split_by_group
from training.encoder import pretrained, with_layers, with_pieces
from training.finetuning import Classifier, Recipe, best_layers, finetune
from training.metrics import selection_score
from training.stages import Stages
from training.vocabulary import cut_tokenizer, useful_pieces

SEED = 1
LAYERS = 4
VOCABULARY_SIZE = 9000
TEACHER = Recipe(epochs=2, learning_rate=1e-4)
STUDENT = Recipe(epochs=3, learning_rate=1e-4, teacher_share=0.7)


def parse() -> argparse.Namespace:
    """Parse the command line; the data folder may also come from the environment."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    known = os.environ.get("CLASSWIRE_TRAINING_DATA")
    add = parser.add_argument
    add("--data", type=Path, default=known, required=not known, help="folder with reviews.jsonl")
    add("--output", type=Path, required=True, help="folder of the checkpoint to write")
    add("--keep", type=Path, help="folder that keeps results of steps for later runs")
    add("--threads", type=int, default=2, help="torch threads (default 2)")
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

    encoder, tokenizer = pretrained()
    words = learn_words(train, tokenizer.get_vocab())
    learn = partial(finetune, train=train, validation=validation, words=words, seed=SEED, log=log)
    teacher = stages.run("teacher", lambda: learn(Classifier(encoder, tokenizer), recipe=TEACHER))

    def compare_layers() -> tuple[int, ...]:
        candidates = itertools.combinations(range(encoder.config.num_hidden_layers), LAYERS)
        smaller = partial(with_layers, teacher.model)
        return best_layers(teacher, validation[:500], smaller, list(candidates), log)

    layers = stages.run("layers", compare_layers)
    pieces = useful_pieces(tokenizer, [review.full_text for review in train], VOCABULARY_SIZE)
    smaller = with_pieces(with_layers(teacher.model, layers), pieces)
    start = Classifier(smaller, cut_tokenizer(tokenizer, pieces))
    student = stages.run("student", lambda: learn(start, recipe=STUDENT, teacher=teacher))

    calibrate(teacher, validation)
    offsets, divisor = calibrate(student, validation)
    checkpoint.store(student, arguments.output)
    log(f"stored: class offsets {offsets}, temperature {divisor}")
    runs = stages.run("baselines", lambda: baseline.tune(train, validation, split.test, log))

    made = {
        "minutes": round(sum(stages.seconds.values()) / 60, 1),
        "seconds_by_step": {name: round(seconds) for name, seconds in stages.seconds.items()},
        "layers": layers,
        "class_offsets": offsets,
        "temperature": divisor,
    }
    best = max(runs, key=lambda run: selection_score(run.validation))
    results = evaluation.measure(arguments.output, teacher, split, best, made)
    card.RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    card.write(results, arguments.output)
    log("measured on held-out products: " + json.dumps(results["test"]["this checkpoint"]))


if __name__ == "__main__":
    main()

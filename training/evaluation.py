"""Measures a checkpoint on the test products and on the sentences.

`python -m training.evaluation --data FOLDER` measures the weights in the repository, and prints the
card's tables without the teacher and TF-IDF.
"""

import argparse
import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
import transformers

from classwire_server.checkpoint.loading import load_checkpoint
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import EMBEDDED_FOLDER, ServerConfig
from classwire_server.engine import Precision
from classwire_server.engine.forward.int8 import quantize
from classwire_server.engine.forward.packed import PackedEngine, PackedModel
from classwire_server.engine.packing import pack
from classwire_server.tokenization import Text, Truncation
from training.baseline import Run
from training.card import sentence_table, test_table
from training.checkpoint import load
from training.data import STARS, Review, Split, load_reviews, split_by_group
from training.finetuning import Classifier
from training.labels import labels_of
from training.metrics import Labels, calibration_error, f1_by_label, quality

SENTENCES = tuple(
    Path(__file__).with_name(name) for name in ("sentences.jsonl", "more_sentences.jsonl")
)
OURS, INT8, TEACHER = "this checkpoint", "this checkpoint in int8", "its teacher"
INT8_BATCH = 32


def load_sentences() -> list[dict[str, Any]]:
    """Return the sentences about other topics: `topic`, `stars` and `text` of each."""
    return [
        json.loads(line)
        for file in SENTENCES
        for line in file.read_text(encoding="utf-8").splitlines()
    ]


def machine() -> str:
    """Return processor, number of cores, and operating system."""
    model = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        named = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = f"{named[0].split(':', 1)[1].strip()} ({model})" if named else model
    return f"{os.cpu_count()} cores of {model}, {platform.system()}"


def counts(reviews: Sequence[Review]) -> dict[str, Any]:
    """Return the numbers of reviews, of products, and of reviews by stars."""
    return {
        "reviews": len(reviews),
        "products": len({review.group for review in reviews}),
        "by_stars": np.bincount(labels_of(reviews), minlength=len(STARS)).tolist(),
    }


def sentence_figures(predicted: Labels, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return quality over all sentences, then by topic."""
    truth = np.array([row["stars"] - 1 for row in rows])
    figures = {"all": quality(truth, predicted).rounded()}
    for topic in sorted({row["topic"] for row in rows}):
        inside = np.array([row["topic"] == topic for row in rows])
        figures[topic] = quality(truth[inside], predicted[inside]).rounded()
    return figures


def leads(
    reviews: Sequence[Review], ours: Labels, theirs: Labels, draws: int = 1000
) -> dict[str, float]:
    """Return the share of bootstrap draws of products in which `ours` is the better prediction.

    `ours` and `theirs` are class ids `(reviews,)`. A share near 0.5 means that other products could
    reverse the order.
    """
    truth = labels_of(reviews)
    products = np.array([review.group for review in reviews])
    rows_of = [np.flatnonzero(products == product) for product in np.unique(products)]
    generator = np.random.default_rng(0)
    ahead = {"macro_f1": 0, "mean_absolute_error": 0}
    for _ in range(draws):
        drawn = generator.integers(0, len(rows_of), len(rows_of))
        rows = np.concatenate([rows_of[index] for index in drawn])
        our, their = quality(truth[rows], ours[rows]), quality(truth[rows], theirs[rows])
        ahead["macro_f1"] += our.macro_f1 > their.macro_f1
        ahead["mean_absolute_error"] += our.mean_absolute_error < their.mean_absolute_error
    return {name: times / draws for name, times in ahead.items()}


def int8_labels(folder: Path, texts: Sequence[str]) -> Labels:
    """Return the highest class `(texts,)` as a server in int8 finds it."""
    source = ModelSource("stars-en", str(folder))
    stored, model, _ = load_checkpoint(source, ServerConfig())
    tokenization = stored.tokenization(Truncation.DROP_END)
    encodings = [tokenization.encode(Text(text), None, field="") for text in texts]
    quantize(model)
    engine = PackedEngine(PackedModel(model, stored.input_names), "cpu", Precision.INT8)
    found = []
    for start in range(0, len(encodings), INT8_BATCH):
        batch = pack(encodings[start : start + INT8_BATCH])
        found.append(batch.unsorted(engine.run(batch)).argmax(axis=1))
    return np.concatenate(found)


def measure_sentences(folder: Path, others: dict[str, Classifier]) -> dict[str, Any]:
    """Return quality on the sentences, in float32, in int8 and of `others`."""
    rows = load_sentences()
    texts = [row["text"] for row in rows]
    predicted = {
        OURS: load(folder).predict(texts).argmax(axis=1),
        INT8: int8_labels(folder, texts),
        **{name: other.predict(texts).argmax(axis=1) for name, other in others.items()},
    }
    return {name: sentence_figures(labels, rows) for name, labels in predicted.items()}


def measure_test(folder: Path, split: Split, others: dict[str, Classifier]) -> dict[str, Any]:
    """Return the figures of the test products for `results.json`, except those of TF-IDF."""
    texts = [review.full_text for review in split.test]
    truth = labels_of(split.test)
    probabilities = {
        OURS: load(folder).predict(texts),
        **{name: other.predict(texts) for name, other in others.items()},
    }
    predicted = {name: found.argmax(axis=1) for name, found in probabilities.items()}
    predicted[INT8] = int8_labels(folder, texts)
    majority = int(np.bincount(labels_of(split.train)).argmax())
    predicted["majority class"] = np.full_like(truth, majority)
    confusion = np.zeros((len(STARS), len(STARS)), dtype=int)
    np.add.at(confusion, (truth, predicted[OURS]), 1)
    return {
        "test": {name: quality(truth, found).rounded() for name, found in predicted.items()},
        "test_f1_by_label": [round(value, 4) for value in f1_by_label(truth, predicted[OURS])],
        "test_calibration_error": {
            name: round(calibration_error(truth, found), 4) for name, found in probabilities.items()
        },
        "test_confusion": {"rows": "truth", "columns": "prediction", "counts": confusion.tolist()},
    }


def measure(
    folder: Path, teacher: Classifier, split: Split, best: Run, made: dict[str, Any]
) -> dict[str, Any]:
    """Measure the checkpoint stored in `folder`, its teacher and the best baseline."""
    stored = load(folder)
    truth, validation = labels_of(split.test), labels_of(split.validation)
    results = measure_test(folder, split, {TEACHER: teacher})
    baseline = best.probabilities["test"].argmax(axis=1)
    results["test"]["TF-IDF and logistic regression"] = quality(truth, baseline).rounded()
    ours = stored.predict([review.full_text for review in split.test]).argmax(axis=1)
    found = {
        name: each.predict([review.full_text for review in split.validation]).argmax(axis=1)
        for name, each in ((OURS, stored), (TEACHER, teacher))
    }
    config = stored.model.config
    return {
        **results,
        "test_leads": leads(split.test, ours, baseline),
        "validation": {
            name: quality(validation, labels).rounded() for name, labels in found.items()
        },
        "baseline_setting": {"C": best.setting.strength, "balance": best.setting.balance},
        "sentences": measure_sentences(folder, {TEACHER: teacher}),
        "split": {
            "train": counts(split.train),
            "validation": counts(split.validation),
            "test": counts(split.test),
        },
        "model": {
            "parameters": sum(parameter.numel() for parameter in stored.model.parameters()),
            "bytes": sum(file.stat().st_size for file in folder.iterdir()),
            "layers": config.num_hidden_layers,
            "width": config.hidden_size,
            "vocabulary": config.vocab_size,
        },
        "made": {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
            "threads": torch.get_num_threads(),
            "software": f"torch {torch.__version__}, transformers {transformers.__version__}, "
            f"scikit-learn {sklearn.__version__}",
            **made,
        },
    }


def main() -> None:
    """Print the tables; those of the reviews need the training data."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluation", description=__doc__)
    known = os.environ.get("CLASSWIRE_TRAINING_DATA")
    parser.add_argument("--data", type=Path, default=known, help="folder with reviews.jsonl")
    data = parser.parse_args().data
    if data is not None:
        split = split_by_group(load_reviews(data))
        print(test_table(measure_test(EMBEDDED_FOLDER, split, {})["test"]), end="\n\n")
    print(sentence_table(measure_sentences(EMBEDDED_FOLDER, {})))


if __name__ == "__main__":
    main()

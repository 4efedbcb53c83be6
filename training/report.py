"""Measures a stored checkpoint on held-out products and on the sentences: `results.json`."""

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

from training.baseline import Run, labels_of
from training.checkpoint import load
from training.data import STARS, Review, Split
from training.evaluation import Labels, calibration_error, f1_by_label, quality
from training.finetuning import predict

SENTENCES = Path(__file__).parent / "sentences.jsonl"


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
    for topic in dict.fromkeys(row["topic"] for row in rows):
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


def measure(
    folder: Path, split: Split, baselines: dict[str, Run], made: dict[str, Any]
) -> dict[str, Any]:
    """Measure the checkpoint stored in `folder`, the majority class and the baselines."""
    model, tokenizer = load(folder)
    truth = labels_of(split.test)
    probabilities = predict(model, tokenizer, [review.full_text for review in split.test])
    predicted = probabilities.argmax(axis=1)
    majority = int(np.bincount(labels_of(split.train)).argmax())
    test = {"this checkpoint": quality(truth, predicted)}
    for name, run in baselines.items():
        test[name] = quality(truth, run.probabilities["test"].argmax(axis=1))
    test["majority class"] = quality(truth, np.full_like(truth, majority))

    own = labels_of(split.validation)
    validation = predict(
        model, tokenizer, [review.full_text for review in split.validation]
    ).argmax(axis=1)
    rows = [json.loads(line) for line in SENTENCES.read_text(encoding="utf-8").splitlines()]
    sentences = predict(model, tokenizer, [row["text"] for row in rows]).argmax(axis=1)
    confusion = np.zeros((len(STARS), len(STARS)), dtype=int)
    np.add.at(confusion, (truth, predicted), 1)
    labels = list((model.config.id2label or {}).values())
    return {
        "test": {name: measured.rounded() for name, measured in test.items()},
        "test_leads": {
            name: leads(split.test, predicted, run.probabilities["test"].argmax(axis=1))
            for name, run in baselines.items()
        },
        "test_f1_by_label": dict(
            zip(labels, np.round(f1_by_label(truth, predicted), 4).tolist(), strict=True)
        ),
        "test_calibration_error": round(calibration_error(truth, probabilities), 4),
        "test_confusion": {"rows": "truth", "columns": "prediction", "counts": confusion.tolist()},
        "validation": {
            "this checkpoint": quality(own, validation).rounded(),
            **{name: run.validation.rounded() for name, run in baselines.items()},
        },
        "baseline_settings": {
            name: {"C": run.setting.strength, "balance": run.setting.balance}
            for name, run in baselines.items()
        },
        "sentences": sentence_figures(sentences, rows),
        "split": {
            "train": counts(split.train),
            "validation": counts(split.validation),
            "test": counts(split.test),
        },
        "model": {
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "bytes": sum(file.stat().st_size for file in folder.iterdir()),
            "layers": model.config.num_hidden_layers,
            "width": model.config.hidden_size,
            "vocabulary": model.config.vocab_size,
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

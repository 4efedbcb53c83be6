"""The embedded checkpoint matches its card."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

from classwire import Classification, Client
from training import card
from training.data import Review, load_reviews, split_by_group
from training.evaluation import Quality, quality
from training.report import SENTENCES

DATA = os.environ.get("CLASSWIRE_TRAINING_DATA", "")
RESULTS: dict[str, Any] = json.loads(card.RESULTS.read_text(encoding="utf-8"))
OURS = "this checkpoint"


@pytest.fixture(scope="module")
def sentences() -> list[dict[str, Any]]:
    """Return the sentences on other topics."""
    return [json.loads(line) for line in SENTENCES.read_text(encoding="utf-8").splitlines()]


def _measured(target: str, texts: list[str], stars: list[int]) -> Quality:
    with Client(target) as client:
        stream = client.classify_stream(texts, in_order=True, truncation="drop_end")
        outcomes = {result.id: result.outcome for result in stream}
    labels = []
    for outcome in outcomes.values():
        assert isinstance(outcome, Classification)
        labels.append(outcome.scores[0].label_id)
    return quality(np.array(stars) - 1, np.array(labels))


def test_the_folder(embedded_folder: Path) -> None:
    """The checkpoint is a small, complete BERT with the reference checkpoint's labels."""
    size_bytes = sum(file.stat().st_size for file in embedded_folder.iterdir())
    assert size_bytes <= 6_000_000
    model, report = transformers.AutoModelForSequenceClassification.from_pretrained(
        embedded_folder, output_loading_info=True
    )
    assert type(model) is transformers.BertForSequenceClassification
    labels: Any = model.config.id2label
    assert list(labels.values()) == ["1 star", "2 stars", "3 stars", "4 stars", "5 stars"]
    assert not any(report.values())


def test_the_sentences(sentences: list[dict[str, Any]]) -> None:
    """There are 60 sentences, 12 for each number of stars, on six topics, without duplicates."""
    assert len({row["text"] for row in sentences}) == 60
    assert set(Counter(row["stars"] for row in sentences).values()) == {12}
    assert set(Counter(row["topic"] for row in sentences).values()) == {10}


def test_more_sentences(sentences: list[dict[str, Any]]) -> None:
    """140 further sentences: four for each number of stars on each of seven topics, all new."""
    file = SENTENCES.with_name("more_sentences.jsonl")
    more = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert set(Counter((row["topic"], row["stars"]) for row in more).values()) == {4}
    assert len({row["topic"] for row in more}) == 7
    assert len({row["text"] for row in sentences + more}) == 200


def test_the_card_states_the_results(embedded_folder: Path, tmp_path: Path) -> None:
    """Card and training page are generated from the recorded results."""
    table = card.quality_table(RESULTS)
    for page in (embedded_folder / "README.md", card.ROOM / "README.md"):
        text = page.read_text(encoding="utf-8")
        assert card.between_markers(text, table) == text


def test_the_results_beat_the_baselines() -> None:
    """On test products, macro-F1 and absolute error are at least as good as each baseline's."""
    ours = RESULTS["test"][OURS]
    for name, theirs in RESULTS["test"].items():
        if name != OURS:
            assert ours["macro_f1"] >= theirs["macro_f1"], name
            assert ours["mean_absolute_error"] <= theirs["mean_absolute_error"], name


def test_the_figures_on_sentences_equal_the_cards(
    target: str, sentences: list[dict[str, Any]]
) -> None:
    """Measured over the wire, the figures on the sentences equal the card's."""
    texts, stars = [row["text"] for row in sentences], [row["stars"] for row in sentences]
    assert _measured(target, texts, stars).rounded() == RESULTS["sentences"]["all"]


@pytest.mark.skipif(not DATA, reason="CLASSWIRE_TRAINING_DATA names no folder of the data")
def test_the_figures_on_test_products_equal_the_cards(target: str) -> None:
    """Measured over the wire, the figures on the test products equal the card's."""
    test = split_by_group(load_reviews(Path(DATA))).test
    measured = _measured(target, [r.full_text for r in test], [r.stars for r in test])
    assert measured.rounded() == RESULTS["test"][OURS]


def test_no_product_stands_in_two_sets() -> None:
    """Reviews are split by product, the same way every time, in about the stated shares."""
    reviews = [Review("", f"text {i}", 1 + i % 5, str(i % 97)) for i in range(2_000)]
    split = split_by_group(reviews)
    sets = (split.train, split.validation, split.test)
    groups = [{review.group for review in each} for each in sets]
    assert sum(map(len, groups)) == 97
    assert set.union(*groups) == {review.group for review in reviews}
    assert [len(each) / len(reviews) for each in sets] == pytest.approx(
        [0.75, 0.125, 0.125], abs=0.02
    )
    assert split_by_group(reviews) == split

"""The embedded checkpoint matches its card."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

from classwire import Classification, Client
from classwire_server.config.server_config import ServerConfig
from classwire_server.server import Server
from tests.conftest import launch_forked
from training import card
from training.data import Review, load_reviews, split_by_group
from training.evaluation import INT8, OURS, SENTENCES, TEACHER, load_sentences
from training.metrics import Quality, quality

DATA = os.environ.get("CLASSWIRE_TRAINING_DATA", "")
RESULTS: dict[str, Any] = json.loads(card.RESULTS.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def sentences() -> list[dict[str, Any]]:
    """Return the sentences on other topics."""
    return load_sentences()


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
    assert size_bytes <= 25_000_000
    model, report = transformers.AutoModelForSequenceClassification.from_pretrained(
        embedded_folder, output_loading_info=True
    )
    assert type(model) is transformers.BertForSequenceClassification
    labels: Any = model.config.id2label
    assert list(labels.values()) == ["1 star", "2 stars", "3 stars", "4 stars", "5 stars"]
    assert not any(report.values())


def test_the_sentences(sentences: list[dict[str, Any]]) -> None:
    """There are 200 different ones: 60 on six topics, and 140 on these and a seventh."""
    assert len({row["text"] for row in sentences}) == 200
    counts = [Counter((row["topic"], row["stars"]) for row in sentences[:60])]
    counts += [Counter((row["topic"], row["stars"]) for row in sentences[60:])]
    assert [(len(each), set(each.values())) for each in counts] == [(30, {2}), (35, {4})]
    assert len(SENTENCES) == 2


def test_the_card_states_the_results(embedded_folder: Path, tmp_path: Path) -> None:
    """Card and training page are generated from the recorded results."""
    table = card.quality_table(RESULTS)
    for page in (embedded_folder / "README.md", card.ROOM / "README.md"):
        text = page.read_text(encoding="utf-8")
        assert card.between_markers(text, table) == text


def test_the_results_beat_the_baselines() -> None:
    """On test products it has a better macro-F1 and error than TF-IDF and the majority class."""
    ours = RESULTS["test"][OURS]
    others = RESULTS["test"].keys() - {OURS, INT8, TEACHER}
    assert len(others) == 2
    for name in others:
        theirs = RESULTS["test"][name]
        assert ours["macro_f1"] >= theirs["macro_f1"], name
        assert ours["mean_absolute_error"] <= theirs["mean_absolute_error"], name


def test_int8_loses_at_most_three_tenths_of_a_point() -> None:
    """On test products, int8 is exact and nearly exact as often as float32, less 0.3 points."""
    ours, int8 = RESULTS["test"][OURS], RESULTS["test"][INT8]
    for name in ("accuracy", "off_by_one"):
        assert int8[name] >= ours[name] - 0.003


@pytest.fixture(scope="module", params=["float32", "int8"])
def served(request: pytest.FixtureRequest) -> Iterator[tuple[str, str, float]]:
    """Yield a server's address, its row of the card, and how far its shares may be from that.

    Products in int8 are rounded differently on other processors.
    """
    config = ServerConfig(port=0, precision=request.param)
    with Server(config, launch_forked) as server:
        yield server.target, *((OURS, 0.0) if request.param == "float32" else (INT8, 0.01))


def test_the_figures_on_sentences_equal_the_cards(
    served: tuple[str, str, float], sentences: list[dict[str, Any]]
) -> None:
    """Measured over the wire, the figures on the sentences equal the card's."""
    target, name, tolerance = served
    texts, stars = [row["text"] for row in sentences], [row["stars"] for row in sentences]
    expected = pytest.approx(RESULTS["sentences"][name]["all"], abs=tolerance)
    assert _measured(target, texts, stars).rounded() == expected


@pytest.mark.skipif(not DATA, reason="CLASSWIRE_TRAINING_DATA names no folder of the data")
def test_the_figures_on_test_products_equal_the_cards(served: tuple[str, str, float]) -> None:
    """Measured over the wire, the figures on the test products equal the card's."""
    target, name, tolerance = served
    test = split_by_group(load_reviews(Path(DATA))).test
    measured = _measured(target, [r.full_text for r in test], [r.stars for r in test])
    assert measured.rounded() == pytest.approx(RESULTS["test"][name], abs=tolerance)


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

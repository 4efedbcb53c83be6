"""The reviews that come with the demo."""

import gzip
import os
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from classwire_server.cli.demo.reviews import FILE, reviews
from training.data import Review, load_reviews, split_by_group
from training.demo_reviews import COUNT, drawn, lines

DATA = os.environ.get("CLASSWIRE_TRAINING_DATA", "")


def test_size_and_licence() -> None:
    """There are 500 reviews in at most 200 KB, packed far less, and a file says whose they are."""
    assert len(reviews()) == COUNT == 500
    assert FILE.stat().st_size <= 200_000
    assert len(gzip.compress(FILE.read_bytes())) <= 70_000
    assert "CC0-1.0" in FILE.with_name("LICENSE").read_text(encoding="utf-8")


def test_no_text_is_there_twice(embedded_folder: Path) -> None:
    """No two reviews are the same to the model, so no answer can come from a cache."""
    tokenizer = AutoTokenizer.from_pretrained(embedded_folder)
    read = {tuple(tokenizer(review.text)["input_ids"]) for review in reviews()}
    assert len(read) == 500


def test_all_stars_occur() -> None:
    """Each number of stars occurs, and every text has words."""
    assert {review.stars for review in reviews()} == {1, 2, 3, 4, 5}
    assert min(len(review.text.split()) for review in reviews()) >= 3


def test_drawing() -> None:
    """Reviews are drawn the same way every time, and of those with the same words one is drawn."""
    texts = [f"Number {n}, fine!" for n in range(600)]
    held_out = [Review("", text, 5, "p") for text in [*texts, *map(str.upper, texts)]]
    chosen = drawn(held_out)
    assert chosen == drawn(held_out)
    assert len({review.text.casefold() for review in chosen}) == 500


@pytest.mark.skipif(not DATA, reason="CLASSWIRE_TRAINING_DATA names no folder of the data")
def test_the_file_is_drawn_from_test_products() -> None:
    """The file has the reviews that the training's split keeps for the test."""
    split = split_by_group(load_reviews(Path(DATA)))
    assert FILE.read_text(encoding="utf-8") == lines(drawn(split.test))

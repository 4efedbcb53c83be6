"""Batches padded to buckets and replayed. On the CPU a replay computes again."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from classwire_server.engine import Precision
from classwire_server.engine.forward import graphs
from classwire_server.engine.forward.buckets import Bucket
from classwire_server.engine.forward.graphs import Compute, GraphedEngine, Replay, with_graphs
from classwire_server.engine.forward.packed import PackedEngine, PackedModel
from classwire_server.engine.packing import PackedTexts, pack
from classwire_server.tokenization import Encoding, Text

SIZES = (Bucket(1, 16, 16), Bucket(4, 32, 32), Bucket(8, 128, 64))


class Recorder:
    """Stands for CUDA: a replay computes again, from the same memory into the same tensor."""

    def __init__(self) -> None:
        self.captures: list[int] = []
        self.replays: list[int] = []

    def __call__(self, compute: Compute) -> tuple[torch.Tensor, Replay]:
        """Record a computation."""
        result = compute()
        texts = len(result)
        self.captures.append(texts)

        def replay() -> None:
            self.replays.append(texts)
            result.copy_(compute())

        return result, replay


@pytest.fixture
def garbage() -> Iterator[None]:
    """Memory that nothing has written contains NaN, as it may on a device."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def plain_engine(folder: Path) -> PackedEngine:
    """A model in float32 on the CPU."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    names = {"token_type_ids"} if model.config.model_type == "bert" else frozenset()
    return PackedEngine(PackedModel(model, names), "cpu")


def random_batch(dice: random.Random, texts: int, longest: int) -> PackedTexts:
    """Texts of random lengths and ids, some of them with two types of tokens."""
    lengths = [dice.randint(1, longest) for _ in range(texts)]
    return pack(
        [
            Encoding(dice.choices(range(5, 100), k=n), dice.choices((0, 1), k=n), 0, Text(""))
            for n in lengths
        ]
    )


@pytest.mark.parametrize("architecture", ["bert", "roberta", "modernbert"])
def test_a_batch_has_the_logits_of_the_plain_engine(
    checkpoint: Callable[..., Path], garbage: None, architecture: str
) -> None:
    """Whatever ran in a bucket before, and whatever its unused memory contains, a batch has the
    logits that it has without padding.
    """
    plain, recorder = plain_engine(checkpoint(architecture)), Recorder()
    graphed = GraphedEngine(plain, SIZES, recorder)
    dice = random.Random(0)
    for _ in range(60):
        batch = random_batch(dice, dice.randint(1, 8), dice.choice((3, 16, 64)))
        np.testing.assert_allclose(graphed.run(batch), plain.run(batch), rtol=0, atol=1e-5)
    assert recorder.captures == [8, 4, 1]  # the largest first
    assert set(recorder.replays) == {8, 4, 1}


def test_a_batch_that_no_bucket_holds(checkpoint: Callable[..., Path]) -> None:
    """The plain engine runs it."""
    plain, recorder = plain_engine(checkpoint("bert")), Recorder()
    graphed = GraphedEngine(plain, SIZES, recorder)
    batch = random_batch(random.Random(0), 9, 20)
    np.testing.assert_array_equal(graphed.run(batch), plain.run(batch))
    assert recorder.replays == []


def test_logits_outlive_the_next_batch(checkpoint: Callable[..., Path]) -> None:
    """The next replay does not change logits that were returned before."""
    graphed = GraphedEngine(plain_engine(checkpoint("bert")), SIZES, Recorder())
    dice = random.Random(0)
    first = graphed.run(random_batch(dice, 1, 16))
    kept = first.copy()
    graphed.run(random_batch(dice, 1, 16))
    np.testing.assert_array_equal(first, kept)


def test_batches_at_once(checkpoint: Callable[..., Path]) -> None:
    """Threads that run batches of one bucket at once each get their own logits."""
    plain = plain_engine(checkpoint("bert"))
    graphed = GraphedEngine(plain, SIZES, Recorder())
    dice = random.Random(0)
    batches = [random_batch(dice, 3, 10) for _ in range(40)]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(graphed.run, batches))
    for batch, logits in zip(batches, found, strict=True):
        np.testing.assert_allclose(logits, plain.run(batch), rtol=0, atol=1e-5)


def test_no_graphs_without_one_call_for_attention(checkpoint: Callable[..., Path]) -> None:
    """A graph cannot follow lengths that attention reads on the CPU."""
    with pytest.raises(ValueError, match="attention is one call for each length"):
        with_graphs(plain_engine(checkpoint("bert")), 512)


def test_no_graphs_for_a_head_that_reads_a_mean(
    checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mean reads the lengths on the CPU too."""
    monkeypatch.setattr(graphs, "attends_in_one_call", lambda *_: True)
    with pytest.raises(ValueError, match="mean of each text"):
        with_graphs(plain_engine(checkpoint("modernbert-mean")), 512)


def test_what_decides_about_attention(
    checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's device and precision decide, and the size of the model's heads."""
    asked: list[Any] = []
    monkeypatch.setattr(graphs, "attends_in_one_call", lambda *each: asked.append(each))
    plain = plain_engine(checkpoint("bert"))
    engine = PackedEngine(plain.model, "cpu", Precision.BFLOAT16)
    with pytest.raises(ValueError, match="attention"):
        with_graphs(engine, 512)
    assert asked == [(torch.device("cpu"), torch.bfloat16, 8)]

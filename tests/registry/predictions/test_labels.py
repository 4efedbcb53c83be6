"""Metrics by label: each answer counts once, and labels are those of the checkpoint."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire_server.registry.predictions.reference import MAX_LABELS
from tests.checkpoints import STARS
from tests.contract.conversation import Conversation, item
from tests.contract.engines import LOGITS, PATIENCE_S
from tests.observability.metrics.scrape import Scrape, get
from tests.open_inference.wire import Stub, request
from tests.registry.predictions.conftest import Numbered
from tests.registry.predictions.engine import NumberedEngine, logits_of

SECRET = "unmentionable"
LONG = "3 " * 700
"""A text of two windows or more."""


@pytest.fixture(scope="module")
def served(
    numbered: Callable[..., Numbered], bert: Path, checkpoint: Callable[..., Path]
) -> Numbered:
    """A shared server with a cache, and with a second model for zero-shot."""
    nli = checkpoint("bert", labels=("contradiction", "entailment"))
    return numbered(model=(f"stars={bert}", f"nli={nli}"), cache_mb=1, truncation="windows")


def softmax(logits: Sequence[float]) -> np.ndarray:
    """The scores of a text, highest first."""
    exponentials = np.exp(np.array(logits, np.float64))
    return np.sort(exponentials / exponentials.sum())[::-1]


def counted(served: Numbered, model: str = "stars") -> list[float]:
    """The texts by label so far, in the order of the labels."""
    now = Scrape(served.server)
    return [now.value("classwire_labels_total", model=model, label=label) for label in STARS]


def classify(text: str, **options: Any) -> pb.ClassifyRequest:
    """A call with one text."""
    return pb.ClassifyRequest(input=pb.TextInput(text=text), options=pb.ClassifyOptions(**options))


def once(served: Numbered, **options: Any) -> None:
    """Classify a text of label 2."""
    served.stub.Classify(classify("2", **options), timeout=PATIENCE_S)


def thrice(served: Numbered) -> None:
    """Classify the text again and again, which the cache answers."""
    for _ in range(3):
        once(served)


def batch(served: Numbered) -> None:
    """Classify five texts, two of which fail."""
    inputs = [pb.TextInput(text=text) for text in ("2", "0 good", "2", " ", "nan")]
    served.stub.BatchClassify(pb.BatchClassifyRequest(inputs=inputs), timeout=PATIENCE_S)


def stream(served: Numbered) -> None:
    """Classify three texts by a stream."""
    with Conversation(served.channel) as talk:
        talk.read_started()
        talk.send_items(item("a", "4"), item("b", "2 book"), item("c", "2"))
        talk.read_results(3)


def windows(served: Numbered) -> None:
    """Classify a text of several windows."""
    answer = served.stub.Classify(classify(LONG), timeout=PATIENCE_S)
    assert answer.result.window_count > 1


def infer(served: Numbered) -> None:
    """Classify two texts as Triton's clients do."""
    Stub(served.channel).ModelInfer(request("0", "1", model="stars"))


def rank(served: Numbered) -> None:
    """Rank two documents."""
    options = pb.RankOptions(label=STARS[0])
    asked = pb.RankRequest(query="1", documents=["a", "b"], options=options)
    served.stub.Rank(asked, timeout=PATIENCE_S)


def failing(served: Numbered) -> None:
    """Classify texts without an answer."""
    for text in ("nan", " "):
        with pytest.raises(grpc.RpcError):
            served.stub.Classify(classify(text), timeout=PATIENCE_S)


@pytest.mark.parametrize(
    ("act", "texts"),
    [
        (once, (0, 0, 1, 0, 0)),
        (thrice, (0, 0, 3, 0, 0)),
        (lambda served: once(served, top_k=1, min_score=0.99), (0, 0, 1, 0, 0)),
        (batch, (1, 0, 2, 0, 0)),
        (stream, (0, 0, 2, 0, 1)),
        (windows, (0, 0, 0, 1, 0)),
        (infer, (1, 1, 0, 0, 0)),
        (rank, (0, 0, 0, 0, 0)),
        (failing, (0, 0, 0, 0, 0)),
    ],
    ids=["one", "cached", "few scores", "batch", "stream", "windows", "infer", "rank", "failing"],
)
def test_each_answer_counts_once(
    served: Numbered, act: Callable[[Numbered], object], texts: Sequence[int]
) -> None:
    """A text counts once under its highest label, also from the cache, in a batch or stream, in
    windows, and by the Open Inference Protocol. Documents of Rank and failed texts do not count.
    """
    before, scores = counted(served), Scrape(served.server)
    act(served)
    now = Scrape(served.server)

    assert [b - a for a, b in zip(before, counted(served), strict=True)] == list(texts)
    for name in ("classwire_highest_score_count", "classwire_score_margin_count"):
        assert now.value(name, model="stars") - scores.value(name, model="stars") == sum(texts)


@pytest.mark.parametrize("activation", [0, pb.ACTIVATION_IDENTITY, pb.ACTIVATION_SIGMOID])
def test_scores_are_those_of_the_model(served: Numbered, activation: Any) -> None:
    """Highest score and margin are by the model's own activation, whatever a call asks for."""
    before = Scrape(served.server)
    once(served, activation=activation)
    now = Scrape(served.server)
    highest, next_, *_ = softmax(LOGITS)

    def added(name: str) -> float:
        return now.value(name, model="stars") - before.value(name, model="stars")

    assert added("classwire_highest_score_sum") == pytest.approx(highest, abs=1e-6)
    assert added("classwire_score_margin_sum") == pytest.approx(highest - next_, abs=1e-6)
    for name, bound in (("classwire_highest_score_bucket", highest),):
        bucket = next(le for le in ("0.6", "0.7") if float(le) >= bound)
        assert now.value(name, model="stars", le=bucket) == now.value(name, model="stars", le="1.0")


def test_labels_of_callers_are_not_in_metrics(served: Numbered) -> None:
    """Zero-shot counts nothing, and no candidate and no text is in the metrics."""
    asked = pb.ZeroShotClassifyRequest(
        model="nli", text=f"1 {SECRET}", candidate_labels=[SECRET, "b"]
    )
    before = counted(served)
    served.stub.ZeroShotClassify(asked, timeout=PATIENCE_S)
    status, body = get(served.server)

    assert status == 200
    assert SECRET not in body
    assert counted(served) == before
    assert Scrape(served.server).value("classwire_labels_total", model="nli") == 0


def test_all_labels_exist_from_the_start(served: Numbered) -> None:
    """There is a series for each label before its first text."""
    labels = Scrape(served.server).labels("classwire_labels_total")

    assert {each["label"] for each in labels if each["model"] == "stars"} == set(STARS)


def test_many_labels(numbered: Callable[..., Numbered], checkpoint: Callable[..., Path]) -> None:
    """The first hundred labels have series of their own, and the rest count together. Labels of
    one name count together too.
    """
    labels = ("same", "same", *(f"label {n}" for n in range(2, MAX_LABELS + 30)))
    many = checkpoint("bert", labels=labels)
    engine = NumberedEngine(logits=[*[0.0] * (len(labels) - 1), 9.0])
    served = numbered(engine, model=(f"many={many}",))
    for text in ("0", "1", "99", "100", "120", "129"):
        served.stub.Classify(classify(text), timeout=PATIENCE_S)
    now = Scrape(served.server)

    def value(label: str) -> float:
        return now.value("classwire_labels_total", label=label)

    assert (value("same"), value("label 99"), value("(other)")) == (2, 1, 3)
    assert len(now.labels("classwire_labels_total")) == MAX_LABELS  # 98, same and (other)


def test_other_kinds_of_models(
    numbered: Callable[..., Numbered], checkpoint: Callable[..., Path]
) -> None:
    """A text of a multi-label model counts under its highest label, with that label's own score.
    Regression has no scores between 0 and 1, and a model with one label no margin.
    """
    kinds = {
        "several": ("multi_label_classification", STARS),
        "number": ("regression", STARS),
        "single": (None, ("good",)),
    }
    made = {
        name: checkpoint("bert", problem_type=kind, labels=labels)
        for name, (kind, labels) in kinds.items()
    }
    five = numbered(model=tuple(f"{name}={made[name]}" for name in ("several", "number")))
    one = numbered(NumberedEngine(logits=[1.0]), model=(f"single={made['single']}",))
    for served, name in ((five, "several"), (five, "number"), (one, "single")):
        asked = classify("0" if name == "single" else "2 -")
        asked.model = name
        served.stub.Classify(asked, timeout=PATIENCE_S)
    of_five, of_one = Scrape(five.server), Scrape(one.server)
    by_sigmoid = np.sort(1 / (1 + np.exp(-logits_of("2"))))[::-1]
    score, margin = "classwire_highest_score", "classwire_score_margin"

    assert of_five.value("classwire_labels_total", model="several", label=STARS[2]) == 1
    assert of_five.value("classwire_labels_total", model="several") == 1
    assert of_five.value(f"{score}_sum", model="several") == pytest.approx(by_sigmoid[0], abs=1e-6)
    assert of_five.value("classwire_labels_total", model="number", label=STARS[2]) == 1
    assert of_five.values(f"{score}_count", model="number") == []
    assert of_five.values(f"{margin}_count", model="number") == []
    assert of_one.value(f"{score}_count", model="single") == 1
    assert of_one.values(f"{margin}_count", model="single") == []

"""The effect of each option on the answer."""

import math
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub
from classwire_server.server import Server
from tests.contract.conftest import Classify
from tests.contract.engines import PATIENCE_S, FakeEngine

TEXT = "I really love this book"
LABELS = ["1 star", "2 stars", "3 stars", "4 stars", "5 stars"]


def labels(response: pb.ClassifyResponse) -> list[str]:
    """The labels of an answer, in order."""
    return [score.label for score in response.result.scores]


def test_defaults(classify: Classify) -> None:
    """All labels, highest first; no logits, no tokens."""
    result = classify(TEXT).result

    values = [score.score for score in result.scores]
    assert values == sorted(values, reverse=True)
    assert sum(values) == pytest.approx(1.0, abs=1e-6)
    assert sorted((score.label_id, score.label) for score in result.scores) == list(
        enumerate(LABELS)
    )
    assert result.activation == pb.ACTIVATION_SOFTMAX
    assert not result.logits
    assert not result.tokens


@pytest.mark.parametrize(
    ("top_k", "count"), [(0, 5), (1, 1), (3, 3), (5, 5), (6, 5), (2**32 - 1, 5)]
)
def test_top_k(classify: Classify, top_k: int, count: int) -> None:
    """top_k limits the scores to the highest; 0, or more than the labels, means all."""
    assert labels(classify(TEXT, top_k=top_k)) == labels(classify(TEXT))[:count]


def test_min_score(classify: Classify) -> None:
    """min_score keeps the scores of at least its value, equal ones included, or none."""
    scores = classify(TEXT).result.scores
    for kept, lowest in enumerate(scores, start=1):
        assert labels(classify(TEXT, min_score=lowest.score)) == [
            score.label for score in scores[:kept]
        ]
    above = np.nextafter(np.float32(scores[0].score), np.float32(2.0))
    assert labels(classify(TEXT, min_score=float(above))) == []
    assert labels(classify(TEXT, min_score=0.0)) == [score.label for score in scores]
    assert labels(classify(TEXT, min_score=0.0, top_k=2)) == [score.label for score in scores[:2]]


def test_min_score_of_identity(classify: Classify) -> None:
    """With ACTIVATION_IDENTITY min_score may be negative, as logits are."""
    logits = classify(TEXT, include_logits=True).result.logits
    low, high = min(logits), max(logits)

    answer = classify(TEXT, activation=pb.ACTIVATION_IDENTITY, min_score=low)
    none = classify(TEXT, activation=pb.ACTIVATION_IDENTITY, min_score=high + 1)

    assert len(answer.result.scores) == 5
    assert not none.result.scores


def test_activations(classify: Classify) -> None:
    """Each activation is applied to the same logits, and the answer names it."""
    by_id = {
        activation: {
            score.label_id: score.score
            for score in classify(TEXT, activation=activation).result.scores
        }
        for activation in (pb.ACTIVATION_SOFTMAX, pb.ACTIVATION_SIGMOID, pb.ACTIVATION_IDENTITY)
    }
    logits = list(classify(TEXT, include_logits=True).result.logits)
    exponentials = [math.exp(logit) for logit in logits]

    assert len(logits) == 5
    assert [by_id[pb.ACTIVATION_IDENTITY][i] for i in range(5)] == pytest.approx(logits, abs=1e-6)
    assert [by_id[pb.ACTIVATION_SOFTMAX][i] for i in range(5)] == pytest.approx(
        [e / sum(exponentials) for e in exponentials], abs=1e-6
    )
    assert [by_id[pb.ACTIVATION_SIGMOID][i] for i in range(5)] == pytest.approx(
        [1 / (1 + math.exp(-logit)) for logit in logits], abs=1e-6
    )
    for activation in by_id:
        assert classify(TEXT, activation=activation).result.activation == activation


def test_ties_go_by_label_id(
    fake: Callable[..., Server], connect: Callable[[str], grpc.Channel]
) -> None:
    """Scores equal in float32 are in the order of their ids, also with top_k."""
    nearly_one = (30.0, 20.0, -30.0, 40.0, 10_000.0)  # equal in float32, not in float64
    stub = ClassifyServiceStub(connect(fake(FakeEngine(nearly_one)).target))

    def answer(top_k: int = 0) -> list[tuple[int, float]]:
        options = pb.ClassifyOptions(activation=pb.ACTIVATION_SIGMOID, top_k=top_k)
        request = pb.ClassifyRequest(input=pb.TextInput(text=TEXT), options=options)
        scores = stub.Classify(request, timeout=PATIENCE_S).result.scores
        return [(score.label_id, score.score) for score in scores]

    assert answer() == [(0, 1.0), (1, 1.0), (3, 1.0), (4, 1.0), (2, pytest.approx(0.0))]
    assert answer(top_k=1) == [(0, 1.0)]


@pytest.mark.parametrize("logits", [(-60.0, 30.0, 0.0, 1.0, 2.0), (1e4, -1e4, 1e4, 0.0, -1e4)])
@pytest.mark.parametrize("activation", [pb.ACTIVATION_SOFTMAX, pb.ACTIVATION_SIGMOID])
def test_extreme_logits(
    fake: Callable[..., Server],
    connect: Callable[[str], grpc.Channel],
    logits: tuple[float, ...],
    activation: pb.Activation.ValueType,
) -> None:
    """Extreme logits give scores within 0 and 1, never NaN."""
    stub = ClassifyServiceStub(connect(fake(FakeEngine(logits)).target))
    options = pb.ClassifyOptions(activation=activation, include_logits=True)

    result = stub.Classify(
        pb.ClassifyRequest(input=pb.TextInput(text=TEXT), options=options), timeout=PATIENCE_S
    ).result

    scores = {score.label_id: score.score for score in result.scores}
    assert all(0.0 <= score <= 1.0 for score in scores.values())
    assert result.scores[0].label_id == logits.index(max(logits))
    assert list(result.logits) == list(logits)


def test_priorities_are_accepted(classify: Classify) -> None:
    """Both priorities give the same answer."""
    for priority in (pb.PRIORITY_INTERACTIVE, pb.PRIORITY_BULK):
        assert labels(classify(TEXT, priority=priority)) == labels(classify(TEXT))


def test_options_of_a_batch(classifier: ClassifyServiceStub, classify: Classify) -> None:
    """The options apply to every text; the outcomes are in the order of the inputs."""
    options = pb.ClassifyOptions(top_k=1, include_logits=True, include_tokens=True)
    texts = [f"book {index}" for index in range(16)]

    answer = classifier.BatchClassify(
        pb.BatchClassifyRequest(
            inputs=[pb.TextInput(text=text) for text in texts], options=options
        ),
        timeout=PATIENCE_S,
    )

    for text, outcome in zip(texts, answer.outcomes, strict=True):
        alone = classify(text, top_k=1, include_logits=True, include_tokens=True).result
        result = outcome.classification
        assert result.logits == pytest.approx(alone.logits, abs=1e-4)
        assert [score.label for score in result.scores] == [score.label for score in alone.scores]
        assert result.tokens == alone.tokens
        assert result.token_count == len(result.tokens)


def test_timing(classify: Classify, classifier: ClassifyServiceStub) -> None:
    """The times, the size of the device's batch, and whether a text shared another's answer."""
    response = classify(TEXT)
    inputs = [pb.TextInput(text=text) for text in (TEXT, f"1{TEXT}", f"2{TEXT}", f"3{TEXT}", TEXT)]
    batch = classifier.BatchClassify(pb.BatchClassifyRequest(inputs=inputs), timeout=PATIENCE_S)

    assert response.timing.tokenize_us > 0
    assert response.timing.inference_us > 0
    assert response.timing.total_us >= response.timing.queue_us + response.timing.inference_us
    assert response.timing.batch_texts == 1
    assert response.timing.batch_tokens == response.result.token_count
    assert not response.timing.cached
    assert batch.timing.batch_texts == 4
    tokens = [outcome.classification.token_count for outcome in batch.outcomes]
    assert batch.timing.batch_tokens == sum(tokens[:4])
    assert batch.timing.cached


def test_model_ref(
    classify: Classify, classifier: ClassifyServiceStub, models: ModelServiceStub
) -> None:
    """Every answer has the ModelRef of GetModel, also when the call names no model."""
    model = models.GetModel(pb.GetModelRequest(name="tiny"), timeout=PATIENCE_S).model
    text = pb.TextInput(text=TEXT)
    named = pb.ClassifyRequest(input=text, model="tiny")

    refs = [
        classify(TEXT).model,
        classifier.Classify(named, timeout=PATIENCE_S).model,
        classifier.BatchClassify(pb.BatchClassifyRequest(inputs=[text])).model,
        classifier.Tokenize(pb.TokenizeRequest(input=text)).model,
    ]

    assert refs == [
        pb.ModelRef(
            name="tiny",
            fingerprint=model.fingerprint,
            precision=model.precision,
            engine=model.engine,
        )
    ] * len(refs)
    assert model.precision == pb.PRECISION_FLOAT32
    assert model.engine == pb.Engine(execution=pb.EXECUTION_PLAIN, layout=pb.LAYOUT_PACKED)


@pytest.mark.parametrize(
    ("problem_type", "count", "activation"),
    [
        ("regression", 1, pb.ACTIVATION_IDENTITY),
        ("regression", 3, pb.ACTIVATION_IDENTITY),
        ("multi_label_classification", 3, pb.ACTIVATION_SIGMOID),
        ("single_label_classification", 3, pb.ACTIVATION_SOFTMAX),
        (None, 1, pb.ACTIVATION_SIGMOID),
        (None, 2, pb.ACTIVATION_SOFTMAX),
    ],
)
def test_the_models_own_activation(
    checkpoint: Callable[..., Path],
    fake: Callable[..., Server],
    connect: Callable[[str], grpc.Channel],
    problem_type: str | None,
    count: int,
    activation: pb.Activation.ValueType,
) -> None:
    """The default activation follows the checkpoint's problem type."""
    folder = checkpoint("bert", labels=tuple("abc"[:count]), problem_type=problem_type)
    server = fake(FakeEngine([0.5] * count), model=(f"m={folder}",))
    channel = connect(server.target)
    request = pb.ClassifyRequest(input=pb.TextInput(text=TEXT))

    result = ClassifyServiceStub(channel).Classify(request, timeout=PATIENCE_S).result
    model = ModelServiceStub(channel).GetModel(pb.GetModelRequest(), timeout=PATIENCE_S).model

    assert result.activation == model.activation == activation
    assert len(result.scores) == len(model.labels) == count

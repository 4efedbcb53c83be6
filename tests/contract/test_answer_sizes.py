"""Within the limits of a model, every answer is below the 4 MiB that other clients accept."""

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub
from classwire_server.server import Server
from tests.contract.conversation import Conversation
from tests.contract.engines import PATIENCE_S, FakeEngine

MAX_BYTES = 4 << 20
LABELS = tuple(f"{index:04}".ljust(200, "漢") for index in range(2_000))
OPTIONS = pb.ClassifyOptions(include_logits=True, activation=pb.ACTIVATION_SIGMOID)
TOKENS = pb.ClassifyOptions(
    include_logits=True,
    include_tokens=True,
    truncation=pb.TRUNCATION_DROP_END,
    offset_unit=pb.OFFSET_UNIT_UTF8,
)


@pytest.fixture
def wide(
    fake: Callable[..., Server],
    connect: Callable[[str], grpc.Channel],
    checkpoint: Callable[..., Path],
) -> grpc.Channel:
    """A channel to a server whose model has 2,000 labels of 588 bytes."""
    folder = checkpoint("bert", labels=LABELS)
    engine = FakeEngine(logits=[-1.0 / 3.0] * len(LABELS))
    # This channel has gRPC's default limit of 4 MiB.
    return connect(fake(engine, model=(f"wide={folder}",)).target)


def limits(channel: grpc.Channel) -> pb.ModelLimits:
    """The limits of the default model."""
    get = ModelServiceStub(channel).GetModel
    return get(pb.GetModelRequest(), timeout=PATIENCE_S).model.limits


def full_batch(channel: grpc.Channel, options: pb.ClassifyOptions, texts: int, text: str) -> int:
    """The size in bytes of the answer to a batch of `texts` texts."""
    request = pb.BatchClassifyRequest(inputs=[pb.TextInput(text=text)] * texts, options=options)
    answer = ClassifyServiceStub(channel).BatchClassify(request, timeout=PATIENCE_S)
    assert all(outcome.HasField("classification") for outcome in answer.outcomes)
    return answer.ByteSize()


def test_many_labels(wide: grpc.Channel) -> None:
    """A full batch of a model with many long labels uses most of the 4 MiB."""
    texts = limits(wide).max_texts_per_call

    size = full_batch(wide, OPTIONS, texts, "book")

    assert 0.7 * MAX_BYTES < size < MAX_BYTES


def test_many_labels_with_tokens(wide: grpc.Channel) -> None:
    """A full batch of the longest texts with tokens stays below 4 MiB."""
    texts = limits(wide).max_texts_per_call_with_tokens

    assert full_batch(wide, TOKENS, texts, "a " * 600) < MAX_BYTES


def test_many_labels_with_windows(wide: grpc.Channel) -> None:
    """A full batch of texts of the most windows, with the scores of each, stays below 4 MiB."""
    most = limits(wide)
    options = pb.ClassifyOptions(
        include_logits=True,
        include_windows=True,
        truncation=pb.TRUNCATION_WINDOWS,
        windows=pb.WindowOptions(window_tokens=4, overlap_tokens=0),
    )
    text = "a " * 2 * most.max_windows_per_text

    size = full_batch(wide, options, most.max_texts_per_call_with_windows, text)

    assert 0.6 * MAX_BYTES < size < MAX_BYTES


@pytest.mark.parametrize(
    ("architecture", "text"),
    [("bert", "a " * 600), ("roberta", "ꙮ" * 600), ("xlm-roberta", "ꙮ" * (65_536 // 3))],
)
def test_many_tokens(
    fake: Callable[..., Server],
    connect: Callable[[str], grpc.Channel],
    checkpoint: Callable[..., Path],
    architecture: str,
    text: str,
) -> None:
    """A full batch of long texts with tokens stays below 4 MiB, also for unknown tokens."""
    engine = FakeEngine()
    channel = connect(fake(engine, model=(f"m={checkpoint(architecture)}",)).target)
    limit = limits(channel)
    assert limit.max_texts_per_call == 256

    assert full_batch(channel, TOKENS, limit.max_texts_per_call_with_tokens, text) < MAX_BYTES


def test_streams_and_models_of_many_labels(wide: grpc.Channel) -> None:
    """Large results come in several messages; a model with many labels fits into a page."""
    with Conversation(wide, options=OPTIONS) as stream:
        stream.send_items(
            *(pb.StreamItem(id=str(n), input=pb.TextInput(text="book")) for n in range(16))
        )
        stream.half_close()
        assert len(stream.read_to_end()) == 16
    models = ModelServiceStub(wide).ListModels(pb.ListModelsRequest(), timeout=PATIENCE_S)
    assert len(models.models[0].labels) == 2_000


def test_pages_of_large_models(
    fake: Callable[..., Server],
    connect: Callable[[str], grpc.Channel],
    checkpoint: Callable[..., Path],
) -> None:
    """A page of large models ends early, and its token gives the next page."""
    folder = checkpoint("bert", labels=LABELS)
    names = [f"m{index}" for index in range(4)]
    engine = FakeEngine(logits=[0.0] * len(LABELS))
    server = fake(engine, model=tuple(f"{name}={folder}" for name in names))
    stub = ModelServiceStub(connect(server.target))

    first = stub.ListModels(pb.ListModelsRequest(), timeout=PATIENCE_S)
    second = stub.ListModels(
        pb.ListModelsRequest(page_token=first.next_page_token), timeout=PATIENCE_S
    )

    assert len(first.models) < 4
    assert first.next_page_token
    assert [model.name for model in (*first.models, *second.models)] == names

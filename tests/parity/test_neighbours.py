"""A text's answer does not depend on the other texts of its batch."""

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import grpc
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.config.server_config import ServerConfig
from classwire_server.server import Server
from tests.compiled import Compiled
from tests.conftest import launch_forked
from tests.contract.engines import eventually
from tests.parity.direct import TEXTS, Pairable
from tests.parity.wire import text_input

PROBE = "The hotel room was clean but the breakfast was cold and the staff rude."
BATCHES = 50
LOGITS = pb.ClassifyOptions(include_logits=True)
IN_WINDOWS = pb.ClassifyOptions(
    include_logits=True,
    truncation=pb.TRUNCATION_WINDOWS,
    windows=pb.WindowOptions(window_tokens=12, overlap_tokens=3),
)

Logits = tuple[float, ...]


@pytest.fixture(scope="module")
def folder(checkpoint: Callable[..., Path]) -> Path:
    """A tiny BERT, wide enough that matrix products are split into blocks."""
    return checkpoint("bert", hidden_size=192, num_attention_heads=3, intermediate_size=384)


def _alone(stub: ClassifyServiceStub) -> Logits:
    request = pb.ClassifyRequest(input=pb.TextInput(text=PROBE), options=LOGITS)
    return tuple(stub.Classify(request, timeout=60).result.logits)


def _in_random_batches(stub: ClassifyServiceStub) -> Iterator[Logits]:
    dice = random.Random(0)
    for _ in range(BATCHES):
        texts: list[Pairable] = [PROBE, *dice.choices(TEXTS, k=dice.randrange(1, 24))]
        dice.shuffle(texts)
        request = pb.BatchClassifyRequest(inputs=map(text_input, texts), options=LOGITS)
        response = stub.BatchClassify(request, timeout=60)
        assert response.timing.batch_texts == len(set(texts))
        yield tuple(response.outcomes[texts.index(PROBE)].classification.logits)


def _in_a_stream(stub: ClassifyServiceStub) -> Iterator[Logits]:
    def requests() -> Iterator[pb.StreamClassifyRequest]:
        yield pb.StreamClassifyRequest(config=pb.StreamConfig(options=LOGITS))
        for message in range(20):
            texts = [PROBE, *TEXTS[message % len(TEXTS) :]]
            yield pb.StreamClassifyRequest(
                items=pb.StreamItems(
                    items=[
                        pb.StreamItem(id=f"{message}.{index}", input=text_input(text))
                        for index, text in enumerate(texts)
                    ]
                )
            )

    for response in stub.StreamClassify(requests(), timeout=60):
        for result in response.results.results:
            if result.id.endswith(".0"):
                yield tuple(result.outcome.classification.logits)


def _in_windows(stub: ClassifyServiceStub, neighbours: Sequence[Pairable]) -> Logits:
    texts = [*neighbours, PROBE]
    request = pb.BatchClassifyRequest(inputs=map(text_input, texts), options=IN_WINDOWS)
    outcome = stub.BatchClassify(request, timeout=60).outcomes[-1]
    assert outcome.classification.window_count > 1
    return tuple(outcome.classification.logits)


@pytest.mark.parametrize(
    ("precision", "deterministic", "tolerance"),
    [("float32", False, 1e-6), ("float32", True, 0.0), ("int8", False, 0.0)],
)
def test_neighbours_change_nothing(
    folder: Path, few_texts: str, precision: str, deterministic: bool, tolerance: float
) -> None:
    """A text has the same logits alone, in 50 random batches and in a stream: the same bits in int8
    and in float32 with --deterministic, and within 1e-6 of the largest logit in plain float32. So
    has a text that is read in windows.
    """
    config = ServerConfig(
        port=0,
        model=(f"m={folder}",),
        precision=precision,
        deterministic=deterministic,
        lanes=1,
        batch_tokens=1 << 20,
        calibration=few_texts,
    )
    with (
        Server(config, launch_forked) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        _compare(ClassifyServiceStub(channel), tolerance)


@pytest.mark.timeout(300)  # the first test that needs a compiled model compiles it
@pytest.mark.parametrize(
    ("artefact", "deterministic"), [("compiled_int8", False), ("compiled", True)]
)
def test_neighbours_change_nothing_in_a_compiled_engine(
    artefact: str, deterministic: bool, few_texts: str, request: pytest.FixtureRequest
) -> None:
    """A text has the same bits from the compiled engine, in int8 and in float32 with
    --deterministic, whatever its neighbours.
    """
    compiled: Compiled = request.getfixturevalue(artefact)
    config = ServerConfig(
        port=0,
        model=(f"m={compiled.source.location}",),
        precision=compiled.precision.value,
        deterministic=deterministic,
        compile=True,
        compile_cache=compiled.config.compile_cache,
        lanes=1,
        batch_tokens=1 << 20,
        calibration=few_texts,
    )
    with (
        Server(config, launch_forked) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        stub = ClassifyServiceStub(channel)
        probe = pb.ClassifyRequest(input=pb.TextInput(text=PROBE))

        def execution() -> int:
            return int(stub.Classify(probe, timeout=60).model.engine.execution)

        assert eventually(lambda: execution() == pb.EXECUTION_COMPILED)
        _compare(stub, tolerance=0.0)


def _compare(stub: ClassifyServiceStub, tolerance: float) -> None:
    """Compare a text's logits alone with those among others."""
    expected = _alone(stub)
    others = [_alone(stub), *_in_random_batches(stub), *_in_a_stream(stub)]
    windows = _in_windows(stub, [])
    among = [_in_windows(stub, TEXTS[:count]) for count in range(len(TEXTS))]
    assert len(others) == 1 + BATCHES + 20
    for found, wanted in [*((each, expected) for each in others), *((w, windows) for w in among)]:
        differences = [abs(a - b) for a, b in zip(found, wanted, strict=True)]
        assert max(differences) <= tolerance * max(map(abs, wanted))

"""Random calls with windows, cancelled, late, or while the worker is lost: each ends, and leaves
nothing behind.
"""

import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.engine import ANY_TIME, Logits, Terms
from classwire_server.server import Server
from classwire_server.tokenization import Encoding
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually
from tests.contract.failures import failure_of
from tests.windows.conftest import NLI
from tests.windows.test_options import WORDS, words

CALLS = 60
CALLERS = 4
EXPECTED = {
    "BAD_OPTION",
    "UNKNOWN_ENUM",
    "EMPTY_TEXT",
    "TOO_MANY_TOKENS",
    "TOO_MANY_ITEMS",
    "OVERLOADED",
    "EXPIRED_IN_QUEUE",
    "WORKER_LOST",
}
"""Reasons of calls whose texts and worker do no harm."""


class SteppingEngine(FakeEngine):
    """Each input has other logits than the one before."""

    def __init__(self) -> None:
        super().__init__(logits=(0.0, 1.0, 2.0))
        self._inputs = itertools.count()

    def infer(self, encodings: Sequence[Encoding], terms: Terms = ANY_TIME) -> Logits:
        """The logits of the texts."""
        logits = super().infer(encodings, terms)
        for row, number in zip(logits.values, self._inputs, strict=False):
            row[2] = 2 * (number % 3)
        return logits


def _mostly(dice: random.Random, good: Sequence[int], bad: Sequence[int]) -> Any:
    return dice.choice(bad if dice.random() < 0.05 else good)


def options(dice: random.Random) -> dict[str, Any]:
    """Options of windows; a few are wrong."""
    tokens = _mostly(dice, (0, 9, 17, 40), (5, 41, 2**32 - 1))
    windows = pb.WindowOptions(window_tokens=tokens, aggregation=_mostly(dice, (0, 1, 2), (77,)))
    if dice.random() < 0.5:
        windows.overlap_tokens = _mostly(dice, (0, 1, 4), (20, 2**32 - 1))
    truncation = _mostly(dice, (pb.TRUNCATION_WINDOWS,), (0, pb.TRUNCATION_DROP_END, 99))
    return {
        "truncation": truncation,
        "windows": windows,
        "priority": dice.choice((0, 1, 2, 9)),
    }


def call(stub: ClassifyServiceStub, dice: random.Random, how: dict[str, Any]) -> Any:
    """Begin a random call."""

    def text() -> str:
        return words(_mostly(dice, (1, 10, 37, 38, 39, 100), (0, 400))) + dice.choice(
            ("", " \x00é🙂")
        )

    kind, own = dice.randrange(5), options(dice)
    if kind == 0:
        pair = {"text_pair": text()} if dice.random() < 0.3 else {}
        message = pb.ClassifyOptions(**own, include_windows=dice.random() < 0.5)
        one = pb.ClassifyRequest(input=pb.TextInput(text=text(), **pair), options=message)
        return stub.Classify.future(one, **how)
    if kind == 1:
        inputs = [pb.TextInput(text=text()) for _ in range(dice.randrange(9))]
        batch = pb.BatchClassifyRequest(inputs=inputs, options=pb.ClassifyOptions(**own))
        return stub.BatchClassify.future(batch, **how)
    if kind == 2:
        rank = pb.RankRequest(
            query=words(_mostly(dice, (1, 5), (0, 60))),
            documents=[text() for _ in range(dice.randrange(9))],
            options=pb.RankOptions(label="neutral", top_k=dice.randrange(4), **own),
        )
        return stub.Rank.future(rank, **how)
    if kind == 3:
        zero_shot = pb.ZeroShotClassifyRequest(
            text=text(),
            candidate_labels=[words(n) for n in range(1, dice.randrange(2, 6))],
            options=pb.ZeroShotOptions(multi_label=dice.random() < 0.5, **own),
        )
        return stub.ZeroShotClassify.future(zero_shot, **how)
    own.pop("priority")
    return stub.Tokenize.future(pb.TokenizeRequest(input=pb.TextInput(text=text()), **own), **how)


def reasons_of(stub: ClassifyServiceStub, seed: int) -> Counter[str]:
    """Make random calls one after the other, and return how they ended."""
    dice, ended = random.Random(seed), Counter[str]()
    for _ in range(CALLS):
        timeout_s = dice.choice((0.002, 0.05, PATIENCE_S, PATIENCE_S))
        begun = call(stub, dice, {"timeout": timeout_s})
        if dice.random() < 0.2:
            begun.cancel()
        try:
            begun.result()
            ended["answered"] += 1
        except grpc.FutureCancelledError:
            ended["cancelled"] += 1
        except grpc.RpcError as error:
            is_late = begun.code() is grpc.StatusCode.DEADLINE_EXCEEDED and timeout_s < PATIENCE_S
            ended["late" if is_late else failure_of(error).reason] += 1
    return ended


def test_random_calls(
    checkpoint: Callable[..., Path],
    fake: Callable[..., Server],
    connect: Callable[[str], grpc.Channel],
) -> None:
    """Whatever the options, each call is answered or ends with a reason of the contract, while the
    worker is lost now and then. Then the queue is empty, and a long text is answered.
    """
    engine = FakeEngine(logits=(0.0, 1.0, 2.0))
    server = fake(
        engine,
        model=(f"nli={checkpoint('bert', labels=NLI)}",),
        max_tokens=40,
        batch_tokens=64,
        max_queue_tokens=4_000,
        max_texts_per_call=8,
        max_windows_per_call=30,
        max_windows_per_text=20,
    )
    stub = ClassifyServiceStub(connect(server.target))
    with ThreadPoolExecutor(CALLERS) as callers:
        begun = [callers.submit(reasons_of, stub, seed) for seed in range(CALLERS)]
        while not all(each.done() for each in begun):
            seen = len(engine.batches)
            eventually(lambda: len(engine.batches) > seen + 20, patience_s=0.3)  # noqa: B023
            engine.lose()
            engine.come_back()
    ended = sum((each.result() for each in begun), Counter[str]())
    dispatcher = server.registry.served("", "model").dispatcher

    assert ended["answered"] > CALLS, ended
    assert ended.keys() - {"answered", "cancelled", "late"} <= EXPECTED, ended
    assert eventually(lambda: dispatcher.waiting_texts == 0)
    long = pb.ClassifyRequest(
        input=pb.TextInput(text=words(300)),
        options=pb.ClassifyOptions(truncation=pb.TRUNCATION_WINDOWS),
    )
    assert stub.Classify(long, timeout=PATIENCE_S).result.window_count > 5


@pytest.mark.parametrize("problem_type", ["single", "multi"])
def test_the_call_decides_how_windows_become_one(
    problem_type: str,
    checkpoint: Callable[..., Path],
    fake: Callable[..., Server],
    connect: Callable[[str], grpc.Channel],
) -> None:
    """Without multi_label, the scores of zero-shot sum to 1 over the candidates also for a model of
    problem type multi-label: its logits are averaged, as for any other model.
    """
    kind = f"{problem_type}_label_classification"
    folder = checkpoint("bert", labels=NLI, problem_type=kind)
    server = fake(SteppingEngine(), model=(f"nli={folder}",), max_tokens=40)
    request = pb.ZeroShotClassifyRequest(
        text=WORDS * 20,
        candidate_labels=["good", "bad"],
        options=pb.ZeroShotOptions(truncation=pb.TRUNCATION_WINDOWS),
    )
    stub = ClassifyServiceStub(connect(server.target))
    result = stub.ZeroShotClassify(request, timeout=PATIENCE_S).result

    assert result.window_count > 1
    assert sum(score.score for score in result.scores) == pytest.approx(1.0)

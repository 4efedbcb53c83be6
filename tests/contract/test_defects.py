"""Defects of the server: the caller gets an id, the log the place, neither the text."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
import torch
import transformers

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.server import Server
from tests.contract.conversation import Conversation, item
from tests.contract.engines import PATIENCE_S, FakeEngine
from tests.contract.failures import SECRET, Failure, item_failure, refusal

Connect = Callable[[str], grpc.Channel]

NAN = "the model's logits for this text are NaN, a defect of its weights or precision"
WHAT = {"boom": "a defect of the server", "nan": NAN}
"""What the error says of a text with this word."""


def assert_defect(
    failure: Failure, log: pytest.LogCaptureFixture, what: str = "a defect of the server"
) -> None:
    """The error has what failed, and an id, which exactly one log line has."""
    assert failure == Failure(grpc.StatusCode.INTERNAL, "INTERNAL", metadata=failure.metadata)
    assert list(failure.metadata) == ["id"]
    assert "Traceback" not in failure.message
    assert ".py" not in failure.message
    [line] = [
        record for record in log.records if f"defect {failure.metadata['id']}" in record.message
    ]
    assert line.levelno == logging.ERROR
    assert failure.message == f"{what}, logged as {failure.metadata['id']}"
    assert ".py:" in line.message


@pytest.mark.parametrize(("word", "what"), WHAT.items(), ids=WHAT)
def test_unary(
    fake: Callable[..., Server],
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    word: str,
    what: str,
) -> None:
    """A call gets INTERNAL if the engine raises or returns NaN; the next is answered."""
    stub = ClassifyServiceStub(connect(fake(FakeEngine()).target))
    bad = pb.ClassifyRequest(input=pb.TextInput(text=f"{word} {SECRET}"))

    failure = refusal(lambda: stub.Classify(bad, timeout=PATIENCE_S))

    assert_defect(failure, caplog, what)
    good = pb.ClassifyRequest(input=pb.TextInput(text=SECRET))
    assert stub.Classify(good, timeout=PATIENCE_S).result.scores


@pytest.mark.parametrize(("word", "what"), WHAT.items(), ids=WHAT)
def test_batch(
    fake: Callable[..., Server],
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    word: str,
    what: str,
) -> None:
    """Only the text that the engine fails on fails, though all shared a batch."""
    stub = ClassifyServiceStub(connect(fake(FakeEngine()).target))
    texts = (SECRET, f"{word} {SECRET}", SECRET)

    answer = stub.BatchClassify(
        pb.BatchClassifyRequest(inputs=[pb.TextInput(text=text) for text in texts]),
        timeout=PATIENCE_S,
    )

    before, failed, behind = answer.outcomes
    assert_defect(item_failure(failed), caplog, what)
    assert before.classification.scores
    assert before.classification == behind.classification


@pytest.mark.parametrize(("word", "what"), WHAT.items(), ids=WHAT)
def test_stream(
    fake: Callable[..., Server],
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    word: str,
    what: str,
) -> None:
    """Only the item fails; the stream continues."""
    with Conversation(connect(fake(FakeEngine()).target)) as stream:
        stream.send_items(item("a", SECRET), item("bad", f"{word} {SECRET}"), item("b", SECRET))
        outcomes = {result.id: result.outcome for result in stream_results(stream, 3)}
        stream.send_items(item("c", SECRET))
        stream.half_close()

        assert [result.id for result in stream.read_to_end()] == ["c"]

    assert_defect(item_failure(outcomes["bad"]), caplog, what)
    assert outcomes["a"].classification.scores
    assert outcomes["b"].classification.scores


def test_weights_that_give_nan_for_some_texts(
    checkpoint: Callable[..., Path],
    serve: Callable[..., Server],
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """A text whose logits are NaN ends with an error that names the model; its neighbours don't."""
    folder = Path(shutil.copytree(checkpoint("bert"), tmp_path / "bert"))
    model = transformers.BertForSequenceClassification.from_pretrained(folder)
    row = transformers.AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids("software")
    model.bert.embeddings.word_embeddings.weight.data[row] = torch.nan
    model.save_pretrained(folder)
    stub = ClassifyServiceStub(connect(serve(model=(str(folder),), batch_tokens=512).target))
    texts = ("I love this book", "Terrible software", "ok")

    answer = stub.BatchClassify(
        pb.BatchClassifyRequest(inputs=[pb.TextInput(text=text) for text in texts]),
        timeout=PATIENCE_S,
    )

    before, failed, behind = answer.outcomes
    assert_defect(item_failure(failed), caplog, NAN)
    assert before.classification.scores
    assert behind.classification.scores


def test_each_defect_has_its_own_id(
    fake: Callable[..., Server], connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """Two failed texts have two ids and two log lines."""
    stub = ClassifyServiceStub(connect(fake(FakeEngine()).target))
    inputs = [pb.TextInput(text=f"boom {SECRET}")] * 2

    answer = stub.BatchClassify(pb.BatchClassifyRequest(inputs=inputs), timeout=PATIENCE_S)

    first, second = map(item_failure, answer.outcomes)
    assert_defect(first, caplog)
    assert_defect(second, caplog)
    assert first.metadata["id"] != second.metadata["id"]


def test_too_few_logits(fake: Callable[..., Server], connect: Connect) -> None:
    """A call gets INTERNAL if the engine returns fewer logits than labels."""
    stub = ClassifyServiceStub(connect(fake(FakeEngine(logits=(0.0, 1.0))).target))
    request = pb.ClassifyRequest(input=pb.TextInput(text=SECRET))

    failure = refusal(lambda: stub.Classify(request, timeout=PATIENCE_S))

    assert failure.reason == "INTERNAL"


def stream_results(stream: Conversation, count: int) -> list[pb.StreamResult]:
    """The first results of a stream."""
    stream.read_started()
    return stream.read_results(count)

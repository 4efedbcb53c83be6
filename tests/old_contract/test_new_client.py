"""The client of this checkout, at a server of contract 1.0, is told what that server lacks."""

from collections.abc import Callable, Iterator
from typing import Any, cast

import grpc
import pytest
from google.rpc import error_details_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status

from classwire import Client, raise_for_errors
from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub

PATIENCE_S = 60
TEXT = pb.TextInput(text="I really love this book")
LONG = pb.TextInput(text="far too long " * 600)
IN_WINDOWS: dict[str, Any] = {"truncation": pb.TRUNCATION_WINDOWS}
WINDOWS = pb.WindowOptions(
    window_tokens=64, overlap_tokens=8, aggregation=pb.WINDOW_AGGREGATION_MAX_SCORE
)
NEW_FEATURES = {"windows", "rank", "zero_shot_classify"}
NEW_FIELDS: dict[str, Any] = {"windows": WINDOWS, "include_windows": True}


@pytest.fixture(scope="module")
def client(old_target: str) -> Iterator[Client]:
    """Yield a client of this checkout."""
    with Client(old_target) as client:
        yield client


@pytest.fixture(scope="module")
def stub(old_target: str) -> Iterator[ClassifyServiceStub]:
    """Yield the stub of this checkout."""
    with grpc.insecure_channel(old_target) as channel:
        yield ClassifyServiceStub(channel)


def classify(text: pb.TextInput, **options: Any) -> pb.ClassifyRequest:
    """Return a request to classify a text."""
    return pb.ClassifyRequest(input=text, options=pb.ClassifyOptions(**options))


def stream(**options: Any) -> Iterator[pb.StreamClassifyRequest]:
    """Return the messages of a stream of one text."""
    config = pb.StreamConfig(options=pb.ClassifyOptions(**options))
    items = pb.StreamItems(items=[pb.StreamItem(id="a", input=LONG)])
    return iter([pb.StreamClassifyRequest(config=config), pb.StreamClassifyRequest(items=items)])


def batch(**options: Any) -> pb.BatchClassifyRequest:
    """Return a request to classify a text that fits and one that does not."""
    return pb.BatchClassifyRequest(inputs=[TEXT, LONG], options=pb.ClassifyOptions(**options))


UNKNOWN_ENUM = (grpc.StatusCode.INVALID_ARGUMENT, "UNKNOWN_ENUM")
UNIMPLEMENTED = (grpc.StatusCode.UNIMPLEMENTED, None)


RANK = pb.RankRequest(query="red", documents=["a", "b"])
ZERO_SHOT = pb.ZeroShotClassifyRequest(text="red", candidate_labels=["a", "b"])
REFUSED: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "text": (
        lambda stub: stub.Classify(classify(LONG, **IN_WINDOWS, **NEW_FIELDS)),
        UNKNOWN_ENUM,
    ),
    "text that fits": (lambda stub: stub.Classify(classify(TEXT, **IN_WINDOWS)), UNKNOWN_ENUM),
    "batch": (lambda stub: stub.BatchClassify(batch(**IN_WINDOWS)), UNKNOWN_ENUM),
    "stream": (lambda stub: list(stub.StreamClassify(stream(**IN_WINDOWS))), UNKNOWN_ENUM),
    "tokenize": (
        lambda stub: stub.Tokenize(pb.TokenizeRequest(input=LONG, **IN_WINDOWS)),
        UNKNOWN_ENUM,
    ),
    "rank": (lambda stub: stub.Rank(RANK), UNIMPLEMENTED),
    "zero-shot": (lambda stub: stub.ZeroShotClassify(ZERO_SHOT), UNIMPLEMENTED),
}


@pytest.mark.parametrize("call", REFUSED)
def test_an_old_server_refuses(stub: ClassifyServiceStub, call: str) -> None:
    """It rejects the truncation, so it cuts nothing unnoticed, and does not have the new RPCs."""
    send, expected = REFUSED[call]

    with pytest.raises(grpc.RpcError) as caught:
        send(stub)

    error = cast(grpc.Call, caught.value)
    assert (error.code(), reason(error)) == expected


def test_an_old_server_ignores_the_options(stub: ClassifyServiceStub) -> None:
    """It answers as without them, and window_count is 0."""
    without, answered = (
        stub.Classify(classify(TEXT, **options), timeout=PATIENCE_S) for options in ({}, NEW_FIELDS)
    )
    tokens = [
        stub.Tokenize(pb.TokenizeRequest(input=TEXT, windows=windows), timeout=PATIENCE_S)
        for windows in (None, WINDOWS)
    ]

    assert answered.result == without.result
    assert answered.result.window_count == 0
    assert not answered.result.windows
    assert tokens[1] == tokens[0]
    assert not tokens[1].windows


def test_an_old_server_still_rejects_long_texts(stub: ClassifyServiceStub) -> None:
    """The options alone let no long text through."""
    with pytest.raises(grpc.RpcError) as caught:
        stub.Classify(classify(LONG, **NEW_FIELDS), timeout=PATIENCE_S)

    assert reason(cast(grpc.Call, caught.value)) == "TOO_MANY_TOKENS"


def test_an_old_server_describes_nothing_new(old_target: str) -> None:
    """The new fields of its description are empty."""
    with grpc.insecure_channel(old_target) as channel:
        [model] = ModelServiceStub(channel).ListModels(pb.ListModelsRequest()).models

    assert not model.tasks
    limits = model.limits
    assert limits.max_texts_per_call
    assert not limits.max_windows_per_text
    assert not limits.max_windows_per_call
    assert not limits.max_texts_per_call_with_windows


def test_calls_of_both_contracts(client: Client) -> None:
    """Calls that the old contract has work, and the server lists none of the new features."""
    alone = client.classify(TEXT.text)
    outcomes = client.classify_batch([TEXT.text])
    outcomes += [result.outcome for result in client.classify_stream([TEXT.text])]
    [model] = client.models()

    assert [raise_for_errors([outcome])[0].scores for outcome in outcomes] == [alone.scores] * 2
    assert len(client.tokenize(TEXT.text).tokens) == alone.token_count
    assert model.limits is not None
    assert not NEW_FEATURES & set(client.server_info().features)


def reason(error: grpc.Call) -> str | None:
    """Return the reason in the details of an error; None without one."""
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    found = status is not None and any(detail.Unpack(info) for detail in status.details)
    return info.reason if found else None

"""Outcomes and the ids of calls."""

import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from classwire import (
    Classification,
    ClasswireError,
    InvalidInputError,
    MessageTooLargeError,
    Reason,
    StreamItem,
    StreamResult,
    TextInput,
    raise_for_errors,
)
from classwire.testing import FakeServer

MINE = {"x-request-id": "mine"}
NO_TEXT: Any = math.nan


def test_an_outcome_says_whether_it_is_one(client: Any) -> None:
    """Classifications and errors both have `ok` and `error`."""
    good, bad = client.classify_batch(["text", " "])
    assert (good.ok, good.error) == (True, None)
    assert (bad.ok, bad.error) == (False, bad)
    assert isinstance(bad, ClasswireError)


def test_a_row_that_is_no_text_fails_alone(client: Any) -> None:
    """A row that is no text fails alone in a batch and in a stream; its error names the row's type
    and not its value.
    """
    values: dict[Any, str] = {
        math.nan: "text must be a str, not float",
        None: "text must be a str, not NoneType",
        31: "text must be a str, not int",
        b"31": "text must be a str, not bytes",
        TextInput(NO_TEXT): "text must be a str, not float",
        TextInput("good", NO_TEXT): "text_pair must be a str, not float",
    }
    rows = ["good", *values, "good"]
    items = [StreamItem(str(index), row) for index, row in enumerate(rows)]
    for outcomes, field in (
        (client.classify_batch(rows), "inputs[{}]"),
        ([each.outcome for each in client.classify_stream(rows, in_order=True)], "input"),
        ([each.outcome for each in client.classify_stream(items, in_order=True)], "input"),
    ):
        first, *errors, last = outcomes
        assert first.ok
        assert last.ok
        for index, (error, wrong) in enumerate(zip(errors, values.values(), strict=True), start=1):
            assert type(error) is InvalidInputError
            assert error.message == f"{field.format(index)}.{wrong}"
            assert error.field == error.message.split()[0]
            assert error.reason is Reason.BAD_ENCODING


def test_a_row_that_is_too_large_fails_alone(client: Any) -> None:
    """A row over gRPC's limit for a message fails alone: in a stream, the client sends the items
    without a result in another call.
    """
    large = "x" * (5 << 20)
    rows = ["a", large, "b", large, "c"]
    streamed = [each.outcome for each in client.classify_stream(rows, in_order=True)]
    for outcomes in (client.classify_batch(rows), streamed):
        assert [outcome.ok for outcome in outcomes] == [True, False, True, False, True]
        assert all(type(outcomes[at]) is MessageTooLargeError for at in (1, 3))


def test_a_result_of_a_stream_has_id_index_and_outcome(client: Any) -> None:
    """A stream result's index is the position in the input, for any id and any order."""
    items = [StreamItem("first", "a"), "\ud800", StreamItem("third", " "), "d"]
    results = list(client.classify_stream(items))
    assert all(type(result) is StreamResult for result in results)
    assert {(result.id, result.index, result.outcome.ok) for result in results} == {
        ("first", 0, True),
        ("1", 1, False),
        ("third", 2, False),
        ("3", 3, True),
    }


def test_an_index_counts_on_after_an_id_is_used_again(client: Any) -> None:
    """Two items with the same id have different indices."""
    results = list(client.classify_stream((StreamItem("same", "a") for _ in range(3)), window=1))
    assert [(result.id, result.index) for result in results] == [("same", n) for n in range(3)]


def test_raise_for_errors(client: Any) -> None:
    """`raise_for_errors` raises the first error, or returns the classifications."""
    texts = ["a", " ", "\ud800"]
    for outcomes in (
        client.classify_batch(texts),
        list(client.classify_stream(texts, in_order=True)),
    ):
        with pytest.raises(InvalidInputError) as raised:
            raise_for_errors(outcomes)
        assert raised.value.reason is Reason.EMPTY_TEXT
        (good,) = raise_for_errors(outcomes[:1])
        assert isinstance(good, Classification)
    assert raise_for_errors([]) == []


def test_answers_have_the_id_of_their_call(client: Any) -> None:
    """Results and errors have the request id of their call, or the server's; stream outcomes have
    none.
    """
    assert client.classify("a", metadata=MINE).request_id == "mine"
    assert client.tokenize("a", metadata=MINE).request_id == "mine"
    good, bad = client.classify_batch(["a", " "], metadata=MINE)
    assert (good.request_id, bad.request_id) == ("mine", "mine")
    with pytest.raises(ClasswireError) as raised:
        client.classify(" ", metadata=MINE)
    assert raised.value.request_id == "mine"
    first, second = (client.classify("a").request_id for _ in range(2))
    assert first
    assert second
    assert first != second
    assert client.tokenize("a") == client.tokenize("a")  # equality ignores the request id
    (result,) = client.classify_stream(["a"], metadata=MINE)
    assert result.outcome.request_id is None


def test_metadata_of_several_values(client: Any, server: FakeServer) -> None:
    """A sequence as a metadata value sends its key several times, in order; the fake keeps the
    last.
    """
    client.classify("a", metadata={"x-key": ["one", "two"], "x-raw-bin": [b"1", b"2"]})
    assert server.calls[0].metadata["x-key"] == "two"
    assert server.calls[0].metadata["x-raw-bin"] == b"2"


def test_a_client_shows_target_and_state(
    make_client: Callable[..., Any], server: FakeServer
) -> None:
    """The client's repr shows target and state, and never the token."""
    client = make_client(server.target, token="secret", allow_plaintext_token=True)
    assert f"({server.target!r}, open)" in repr(client)
    client.close()
    assert f"({server.target!r}, closed)" in repr(client)
    assert "secret" not in repr(client)


def test_raise_for_errors_closes_a_stream(client: Any) -> None:
    """An error that the caller keeps does not keep the stream open."""
    is_closed = threading.Event()

    def texts() -> Iterator[str]:
        try:
            yield " "
            while True:
                yield "a"
        finally:
            is_closed.set()

    with pytest.raises(InvalidInputError) as raised:
        raise_for_errors(client.classify_stream(texts()))
    assert raised.value.reason is Reason.EMPTY_TEXT
    assert is_closed.wait(5.0)

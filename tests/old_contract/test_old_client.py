"""The client of contract 1.0 gets the same from a server of this checkout as from its own."""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from classwire import ClasswireError, Client, StreamItem, TextInput
from classwire.v1 import classwire_pb2 as pb

TEXTS: list[str | TextInput] = [
    "I really love this book",
    "Fell apart in the first wash.",
    TextInput("It's okay 😀.", "Nothing special."),
    " ",
    "far too long " * 600,
]
OPTIONS: dict[str, Any] = {"top_k": 3, "min_score": 0.01, "activation": "sigmoid"}
CALLS: dict[str, Callable[[Client], Any]] = {
    "classify": lambda client: client.classify(TEXTS[0]),
    "classify, all options": lambda client: client.classify(
        TEXTS[2], include_logits=True, include_tokens=True, offset_unit="utf8", **OPTIONS
    ),
    "classify, cut": lambda client: client.classify(TEXTS[4], truncation="drop_end"),
    "classify, too long": lambda client: client.classify(TEXTS[4]),
    "classify, no such model": lambda client: client.classify(TEXTS[0], model="other"),
    "batch": lambda client: client.classify_batch(TEXTS, **OPTIONS),
    "stream": lambda client: list(
        client.classify_stream(
            [StreamItem(f"id {place}", text) for place, text in enumerate(TEXTS)], in_order=True
        )
    ),
    "tokenize": lambda client: client.tokenize(TEXTS[2], offset_unit="utf16"),
    "tokenize, cut": lambda client: client.tokenize(TEXTS[4], truncation="drop_start"),
    "models": lambda client: client.models(),
    "model": lambda client: client.model("stars-en"),
    "health": lambda client: client.health(),
}


OF_A_RUN = {"timing", "request_id"}


@pytest.fixture(scope="module")
def old(old_target: str) -> Iterator[Client]:
    """Yield a client of a server of its own contract."""
    with Client(old_target) as client:
        yield client


@pytest.fixture(scope="module")
def new(new_target: str) -> Iterator[Client]:
    """Yield a client of a server of this checkout."""
    with Client(new_target) as client:
        yield client


def test_the_client_is_old() -> None:
    """The interpreter imports the client of contract 1.0."""
    assert "Rank" not in pb.DESCRIPTOR.services_by_name["ClassifyService"].methods_by_name


@pytest.mark.parametrize("call", CALLS)
def test_calls(old: Client, new: Client, call: str) -> None:
    """Scores, errors and descriptions are equal to the last bit; times and messages may differ."""
    expected, answered = (plain(answer(CALLS[call], client)) for client in (old, new))

    assert answered == expected


def test_the_features_of_old_callers_stay(old: Client, new: Client) -> None:
    """The server has each feature that an old caller may look for."""
    assert set(old.server_info().features) < set(new.server_info().features)


def answer(call: Callable[[Client], Any], client: Client) -> Any:
    """Return what a call returns, or its error."""
    try:
        return call(client)
    except ClasswireError as error:
        return error


def plain(value: Any) -> Any:
    """Return an answer as plain values, without those of one run."""
    if isinstance(value, ClasswireError):
        return type(value).__name__, value.code, value.reason, value.field, value.metadata
    if is_dataclass(value):
        named = {field.name: getattr(value, field.name) for field in fields(value)}
        return {name: plain(each) for name, each in named.items() if name not in OF_A_RUN}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value

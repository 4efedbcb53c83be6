"""The texts that ended workers, as an operator sees and clears them."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from classwire import Client, PoisonInputError
from classwire_server.server import Server
from tests.admin.operator import Operator, refusal
from tests.contract.engines import FakeEngine

DEADLY = "a deadly secret"


def test_list_and_clear(
    fake: Callable[..., Server], operate: Callable[[Server], Operator], red: Path
) -> None:
    """The list has the number of texts and the times for each model with such texts, and no text.
    A cleared text runs again.
    """
    engine = FakeEngine((0, 1))
    server = fake(engine, FakeEngine((0, 1)))
    operator = operate(server)
    operator.load("other", red)
    assert operator.poison() == []
    before_s = time.time()
    with Client(server.target) as client:
        for text in (DEADLY, DEADLY, f"{DEADLY} too"):
            with pytest.raises(PoisonInputError):
                client.classify(text)
        after_s = time.time()
        for model in ("", "m"):
            (found,) = operator.poison(model)
            assert (found.model, found.count) == ("m", 2)
            times_s = [each.ToNanoseconds() / 1e9 for each in (found.first_time, found.last_time)]
            assert [before_s, *times_s, after_s] == sorted([before_s, *times_s, after_s])
            assert b"secret" not in found.SerializeToString()
        assert operator.poison("other") == []
        assert operator.clear_poison("other") == 0
        assert engine.texts.count(DEADLY) == 2

        assert operator.clear_poison("m") == 2

        assert (operator.poison(), operator.clear_poison()) == ([], 0)
        with pytest.raises(PoisonInputError):
            client.classify(DEADLY)
        assert engine.texts.count(DEADLY) == 4
        assert operator.clear_poison() == 1


@pytest.mark.parametrize("ask", [Operator.poison, Operator.clear_poison])
def test_an_unknown_model(
    fake: Callable[..., Server], operate: Callable[[Server], Operator], ask: Callable[..., Any]
) -> None:
    """Both calls end with UNKNOWN_MODEL."""
    operator = operate(fake(FakeEngine((0, 1))))
    with pytest.raises(grpc.RpcError) as refused:
        ask(operator, "x")
    assert refusal(refused.value)[:2] == ("NOT_FOUND", "UNKNOWN_MODEL")

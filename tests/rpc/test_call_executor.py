"""Tests for the threads on which calls run."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from classwire.contract.reasons import Reason
from classwire_server.errors import RequestError
from classwire_server.rpc.call_executor import CallExecutor
from tests.contract.engines import PATIENCE_S


def test_each_call_runs_on_the_pool_chosen_for_it() -> None:
    """A choice applies to the next call of the same thread, and to no other."""
    default, other = ThreadPoolExecutor(1, "default"), ThreadPoolExecutor(1, "other")
    executor = CallExecutor(default)

    def runs_on() -> str:
        thread = executor.submit(threading.current_thread).result(PATIENCE_S)
        return thread.name.partition("_")[0]

    executor.choose(other)
    with ThreadPoolExecutor(1) as elsewhere:
        assert elsewhere.submit(runs_on).result(PATIENCE_S) == "default"
    assert runs_on() == "other"
    assert runs_on() == "default"
    rejecting: list[threading.Thread] = []
    executor.reject(RequestError(Reason.OVERLOADED, "full"))
    executor.submit(lambda: rejecting.append(threading.current_thread()))
    assert rejecting == [threading.current_thread()]
    executor.reject(RequestError(Reason.OVERLOADED, "full"))
    executor.choose(None)
    assert runs_on() == "default"
    default.shutdown()
    other.shutdown()


def test_a_rejection_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """The executor logs it and raises nothing: gRPC's thread goes on."""
    executor = CallExecutor(ThreadPoolExecutor(1))
    executor.reject(RequestError(Reason.OVERLOADED, "full"))
    assert executor.submit(int, "no number").done()
    assert "can't be rejected" in caplog.text

"""Tests for the threads on which calls run."""

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from classwire.contract.reasons import Reason
from classwire_server.errors import RequestError
from classwire_server.gate import Gate
from classwire_server.rpc.call_executor import QUIET_S, AdmittingServices, CallExecutor
from classwire_server.rpc.call_pool import CallPool
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


@pytest.mark.parametrize(("calls", "waits"), [(0, 0), (1, 1), (3, 3), (99, 7)])
def test_a_stop_waits_until_no_call_comes(
    calls: int, waits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait ends once no call has come for QUIET_S of a drain, at the latest at its timeout."""

    class Services(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> Any:
            return grpc.unary_unary_rpc_method_handler(lambda request, context: request)

    now_s, left, waited = 1_000.0, calls, 0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    pool = CallPool(1, max_waiting=1)
    gate = Gate()
    admitting = AdmittingServices([Services()], gate, pool, CallExecutor(pool))
    admitting.service(None)  # type: ignore[arg-type]
    gate.close()

    def come() -> None:
        nonlocal left
        if left:
            left -= 1
            admitting.service(None)  # type: ignore[arg-type]

    def sleep(seconds: float) -> None:
        nonlocal now_s, waited
        now_s, waited = now_s + seconds, waited + 1
        come()

    come()
    admitting.wait_until_quiet(6.5 * QUIET_S, lambda: now_s, sleep)

    assert waited == waits
    assert math.isclose(now_s, 1_000.0 + min(waits, 6.5) * QUIET_S)

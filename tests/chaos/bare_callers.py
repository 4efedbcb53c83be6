"""Callers without the library: by generated stubs and by JSON over HTTP, each call made once."""

import http.client
import json
import threading
from collections import Counter
from types import TracebackType
from typing import Self, cast

import grpc

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub

from .callers import PATIENCE_S
from .known import Known
from .trial import Report

CALL_TIMEOUT_S = 60.0
PATH = "/classwire.v1.ClassifyService/Classify"
JSON = {"content-type": "application/json", "grpc-timeout": f"{CALL_TIMEOUT_S:.0f}S"}


class BareCallers:
    """Threads that call in a loop until the end of the block; any thread may read the outcomes.

    `outcomes` counts status codes of gRPC; by JSON, HTTP statuses and errors of the connection.
    """

    def __init__(self, target: str, known: Known, *, stubs: int, json: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self._target = target
        self._known = known
        self._changed = threading.Condition()  # guards outcomes
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=call, daemon=True)
            for call in [self._by_stub] * stubs + [self._by_json] * json
        ]

    def report(self, report: Report, who: str, may_be: set[str]) -> None:
        """Add a finding: every outcome is among `may_be`."""
        found = ", ".join(f"{count:,} {name}" for name, count in sorted(self.outcomes.items()))
        is_met = self.outcomes.keys() <= may_be and bool(self.outcomes)
        report.add(f"{who}: outcomes", f"none but {', '.join(sorted(may_be))}", found, is_met)

    def failures(self) -> int:
        """Return how many calls have failed so far."""
        with self._changed:
            good = self.outcomes["OK"] + self.outcomes["HTTP 200"]
            return self.outcomes.total() - good

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _add(self, outcome: str) -> None:
        with self._changed:
            self.outcomes[outcome] += 1

    def _by_stub(self) -> None:
        options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
        number = 0
        with grpc.insecure_channel(self._target, options) as channel:
            stub = ClassifyServiceStub(channel)
            while not self._end.is_set():
                request = pb.ClassifyRequest(input=pb.TextInput(text=self._known.text(number)))
                number += 1
                try:
                    stub.Classify(request, timeout=CALL_TIMEOUT_S)
                    self._add("OK")
                except grpc.RpcError as error:
                    self._add(cast(grpc.Call, error).code().name)

    def _by_json(self) -> None:
        number = 0
        connection = http.client.HTTPConnection(self._target, timeout=2 * CALL_TIMEOUT_S)
        while not self._end.is_set():
            body = json.dumps({"input": {"text": self._known.text(number)}})
            number += 1
            try:
                connection.request("POST", PATH, body, JSON)
                response = connection.getresponse()
                answer = json.loads(response.read())
            except (OSError, http.client.HTTPException, ValueError) as error:
                connection.close()  # the next request opens it again
                self._add(type(error).__name__)
                continue
            is_answer = "result" in answer or {"code", "message"} <= answer.keys()
            self._add(f"HTTP {response.status}" if is_answer else "other JSON")
        connection.close()

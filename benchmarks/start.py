"""Starts: of a server, of a worker after a kill, and of a further model.

Everything is warm in the page cache. Each round compares starts with a bare import.
"""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import grpc

from classwire.admin.v1.admin_pb2 import LoadModelRequest
from classwire.admin.v1.admin_pb2_grpc import AdminServiceStub
from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub

from .instrument import MeasurementError, seconds_of
from .plan import BARE_IMPORT
from .progress import Say
from .served import CLASSWIRE, Served, seconds_to_import

ANSWER_TIMEOUT_S = 300.0
POLL_S = 0.01
"""Interval between two calls to a server whose worker has not come back."""
SETTLE_S = 3.0
"""How long a worker may go on reading its files in the background: it keeps their hash in the cache
and tells it to its server. It is stopped or killed after that.
"""


class Starts:
    """Starts of servers with the embedded checkpoint, and with a large one.

    `cache` is a folder that the first start of each round finds empty, `tiny` a checkpoint that
    a running server loads. `taken` holds the figures of each round, as JSON.
    """

    def __init__(self, large: Path, tiny: Path, cache: Path, say: Say) -> None:
        self.taken: dict[str, Any] = {
            "import_s": [],
            "embedded": {"first_s": [], "second_s": []},
            "bert-base": {"first_s": [], "second_s": []},
            "back_s": [],
            "read_s": [],
            "load_s": [],
        }
        self._models = {"embedded": (), "bert-base": ("--model", f"m={large}")}
        self._large = large
        self._tiny = tiny
        self._cache = cache
        self._say = say

    def warm_up(self) -> None:
        """Bring the modules and the weights into the page cache."""
        self._say("start: warming up")
        seconds_to_import(BARE_IMPORT)
        seconds_to_read(self._large)
        with Served(*CLASSWIRE):
            pass

    def measure(self, title: str) -> None:
        """Measure one round."""
        self._say(f"{title}: import")
        self.taken["import_s"].append(seconds_to_import(BARE_IMPORT))
        shutil.rmtree(self._cache, ignore_errors=True)
        self._cache.mkdir(mode=0o700)
        for model, options in self._models.items():
            for start in ("first_s", "second_s"):
                self._say(f"{title}: {model}, {start.removesuffix('_s')} start")
                with self._server(*options) as server:
                    self.taken[model][start].append(server.start_s)
                    if start == "first_s":
                        answer(server.target)
                        time.sleep(SETTLE_S)
                    elif model == "bert-base":
                        self._say(f"{title}: {model}, a killed worker")
                        time.sleep(SETTLE_S)
                        self.taken["read_s"].append(seconds_to_read(self._large))
                        self.taken["back_s"].append(seconds_until_back(server))
                    else:
                        self._say(f"{title}: a second, tiny model")
                        load = load_model(server.admin, "second", self._tiny)
                        self.taken["load_s"].append(load)

    def _server(self, *options: str) -> Served:
        cache = {"XDG_CACHE_HOME": str(self._cache)}
        return Served(*CLASSWIRE, "--admin-port", "0", *options, environment=cache)


def answer(target: str) -> None:
    """Have a server answer one call."""
    for _ in _calls(target):
        return


def load_model(admin: str, name: str, folder: Path) -> float:
    """Load a further model into a running server; returns the seconds. Raises MeasurementError."""
    request = LoadModelRequest(name=name, checkpoint=str(folder))
    with grpc.insecure_channel(admin) as channel:
        load = AdminServiceStub(channel).LoadModel
        try:
            return seconds_of(lambda: list(load(request, timeout=ANSWER_TIMEOUT_S)))
        except grpc.RpcError as error:
            raise MeasurementError(f"a second model: {error.details()}") from None


def seconds_until_back(server: Served) -> float:
    """Kill the workers of a server that answers; returns the seconds until it answers again."""
    calls = _calls(server.target)
    next(calls)
    killed_s = time.perf_counter()
    for pid in server.workers:
        os.kill(pid, signal.SIGKILL)
    next(calls)
    return time.perf_counter() - killed_s


def seconds_to_read(folder: Path) -> float:
    """Return the seconds to read a checkpoint's weights from the page cache."""
    return seconds_of((folder / "model.safetensors").read_bytes)


def _calls(target: str) -> Iterator[pb.ClassifyResponse]:
    """Answers of a server to texts that differ; waits while its worker is being replaced."""
    give_up_s = time.monotonic() + ANSWER_TIMEOUT_S
    with grpc.insecure_channel(target) as channel:
        stub = ClassifyServiceStub(channel)
        for number in count():
            request = pb.ClassifyRequest(input=pb.TextInput(text=f"text {number}"))
            try:
                response = stub.Classify(request, timeout=ANSWER_TIMEOUT_S)
            except grpc.RpcError as error:
                if time.monotonic() > give_up_s:
                    raise MeasurementError(
                        f"no answer after {ANSWER_TIMEOUT_S:g} s: {error}"
                    ) from None
                time.sleep(POLL_S)
            else:
                yield response

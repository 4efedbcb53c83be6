"""Faults of the service: full, slow, draining or gone servers."""

import json
import os
import resource
import threading
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from tests.contract.conversation import Conversation, item
from tests.contract.engines import FakeEngine

from .subjects import TIMEOUT_S, Subject, text, texts


class _OnFakeEngine(Subject):
    def __init__(self, checkpoint: Path, **settings: Any) -> None:
        self.engine = FakeEngine()
        super().__init__(checkpoint, self.engine.launch, **settings)
        self._calls: list[Any] = []

    def hold(self) -> None:
        """Make the engine block a call until `let_go`."""
        self.begin("slow")
        self.engine.wait_for(lambda engine: "slow" in engine.texts)

    def begin(self, words: str) -> None:
        """Start a call."""
        self._calls.append(self.stub.Classify.future(text(words), timeout=TIMEOUT_S))

    def let_go(self) -> None:
        """Release the engine, and wait for all calls that were started."""
        self.engine.release()
        for call in self._calls:
            call.exception(TIMEOUT_S)


class Full(_OnFakeEngine):
    """A blocked engine with all streams and calls that the server admits; the stream's texts
    expire, and a caller cancels.
    """

    alerts = (
        "ClasswireQueueOld",
        "ClasswireStreamsAtLimit",
        "ClasswireThreadsBusy",
        "ClasswireExpired",
    )

    def __init__(self, checkpoint: Path) -> None:
        super().__init__(checkpoint, rpc_threads=6, max_streams=1, batch_tokens=16)

    def provoke(self) -> None:
        """Block the engine, and call."""
        stream = self._loops.enter_context(
            Conversation(self.channel, item_timeout=Duration(nanos=100_000_000))
        )
        stream.read_started()
        self.hold()
        for words in ("good", "good", "book", "love", "fine"):
            self.begin(words)
        ids = count()

        def send_late() -> None:
            try:
                stream.send_items(item(str(next(ids)), "late"))
                stream.read_results(1)
            except (grpc.RpcError, StopIteration):  # the stream is over
                pass

        self.loop(send_late)

    def mend(self) -> None:
        """Release the engine, and end the stream."""
        self._calls.pop().cancel()
        self.let_go()
        self.end_loops()


class Slow(_OnFakeEngine):
    """An engine that takes 0.7 s for each batch."""

    alerts = ("ClasswireLatency",)

    def __init__(self, checkpoint: Path) -> None:
        super().__init__(checkpoint)
        self._infer = self.engine.infer
        self._is_mended = threading.Event()

    def provoke(self) -> None:
        """Slow the engine down."""

        def slowly(*args: Any, **options: Any) -> Any:
            self._is_mended.wait(0.7)
            return self._infer(*args, **options)

        self.engine.infer = slowly  # type: ignore[method-assign]
        self.loop(lambda: self.call("good"))

    def mend(self) -> None:
        """Make the engine fast again."""
        self._is_mended.set()


class Overloaded(_OnFakeEngine):
    """A full queue, and callers that retry without waiting."""

    alerts = ("ClasswireOverload",)

    def __init__(self, checkpoint: Path) -> None:
        super().__init__(checkpoint, max_queue_tokens=8)

    def provoke(self) -> None:
        """Fill the queue, and call."""
        self.hold()
        self.begin("good")
        self.loop(lambda: self.stub.BatchClassify.future(texts("book", "love")).exception())

    def mend(self) -> None:
        """Release the engine."""
        self.let_go()


class Draining(_OnFakeEngine):
    """A server that drains while a call never ends."""

    alerts = ("ClasswireDraining",)

    def provoke(self) -> None:
        """Start the drain."""
        self.hold()
        self._stopping = threading.Thread(target=self.server.stop, args=(TIMEOUT_S,), daemon=True)
        self._stopping.start()

    def mend(self) -> None:
        """Let the call end, and start the next server."""
        self.let_go()
        self._stopping.join(TIMEOUT_S)
        self.start_again()


class Stopped(_OnFakeEngine):
    """A server that has stopped."""

    alerts = ("ClasswireDown",)

    def provoke(self) -> None:
        """Stop it."""
        self.server.stop(0)

    def mend(self) -> None:
        """Start the next one."""
        self.start_again()


class Shifted(_OnFakeEngine):
    """A model that gives one label only, where its reference has several; a second model shadows
    it.
    """

    alerts = ("ClasswireLabelsShifted",)

    def __init__(self, checkpoint: Path) -> None:
        reference = checkpoint.parent / "reference.json"
        reference.write_text(json.dumps({"1 star": 400, "5 stars": 400}), encoding="utf-8")
        super().__init__(
            checkpoint,
            model=(f"tiny={checkpoint}", f"second={checkpoint}"),
            reference_distribution=(str(reference),),
            distribution_window_s=4.0,
            shadow=("tiny=second:0.1",),
        )
        self._is_mended = threading.Event()

    def provoke(self) -> None:
        """Send texts, all of which get that label."""

        def send() -> None:
            self.stub.BatchClassify(texts(*["good"] * 200), timeout=TIMEOUT_S)
            self._is_mended.wait(0.5)

        self.loop(send)

    def mend(self) -> None:
        """Send no more of them: soon the window has too few texts for an index."""
        self._is_mended.set()
        self.end_loops()


class FewFilesLeft(_OnFakeEngine):
    """A process that has nearly reached its limit of open files."""

    alerts = ("ClasswireFilesRunOut",)

    def provoke(self) -> None:
        """Lower the limit, and open files."""
        self._files = ExitStack()
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._files.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        most = len(_open_files()) + 1_000
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
        for _ in range(most * 85 // 100 - len(_open_files())):
            self._files.callback(os.close, os.open(os.devnull, os.O_RDONLY))

    def mend(self) -> None:
        """Close them."""
        self._files.close()


def _open_files() -> list[str]:
    return os.listdir("/proc/self/fd")

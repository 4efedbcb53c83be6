"""The servers for the vectors: `python -m conformance.servers`.

Prints their addresses on one line, and stops them when standard input ends or on SIGTERM.
"""

import functools
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import trustme

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Launched
from classwire_server.engine.worker.pool import launch
from classwire_server.server import Server
from tests.security.files import Pair, ca_file, callers_toml
from tests.workers import fork

from . import limits
from .checkpoints import CHECKPOINTS, EMBEDDED, EMBEDDED_FOLDER, make, make_faulty
from .faults import HOLD, FaultyEngine
from .limits import token_of

PATIENCE_S = 60.0
"""Timeout for a server to reach its state, far above the usual time."""

launch_forked = functools.partial(launch, spawn=fork)


def _config(*models: str, **settings: Any) -> ServerConfig:
    return ServerConfig(
        port=0,
        model=models,
        max_text_bytes=limits.MAX_TEXT_BYTES,
        max_texts_per_call=limits.MAX_TEXTS_PER_CALL,
        max_windows_per_text=limits.MAX_WINDOWS_PER_TEXT,
        max_windows_per_call=limits.MAX_WINDOWS_PER_CALL,
        max_message_bytes=limits.MAX_MESSAGE_BYTES,
        max_streams=limits.MAX_STREAMS,
        stream_window_items=limits.STREAM_WINDOW_ITEMS,
        stream_items_per_message=limits.STREAM_ITEMS_PER_MESSAGE,
        max_connection_age_s=0,  # connections that hold a state must outlive all programs
        **settings,
    )


def serving_config(folder: Path) -> ServerConfig:
    """Run a server whose models all answer; makes the tiny checkpoints in a folder."""
    texts = folder / "calibration.txt"
    texts.write_text("I really love this book\nIt was good.\n", "utf-8")
    tiny = [f"{name}={make(name, folder / name)}" for name in CHECKPOINTS]
    return _config(
        f"{EMBEDDED}={EMBEDDED_FOLDER}",
        *tiny,
        device="cpu",
        default_timeout_s=limits.DEFAULT_TIMEOUT_S,
        calibration=str(texts),  # vectors do not test deviations of engines
        batch_tokens=512,
        lanes=1,
        threads=1,
    )


@contextmanager
def faulty(checkpoint: Path) -> Iterator[Server]:
    """Run a server whose models fail, while the context lasts."""
    engines = {"busy": FaultyEngine(), "frail": FaultyEngine(), "lost": FaultyEngine("it is gone")}
    others_are_ready, end = threading.Event(), threading.Event()

    def start(source: ModelSource, config: ServerConfig, on_change: Callable[[], None]) -> Launched:
        if source.name in engines:
            return engines[source.name].launch(source, config, on_change)
        others_are_ready.set()
        end.wait()  # the model keeps loading while the context lasts
        return FaultyEngine().launch(source, config, on_change)

    config = _config(
        *(f"{name}={checkpoint}" for name in (*engines, "loading")),
        default_timeout_s=limits.FAULTY_TIMEOUT_S,
        max_queue_tokens=limits.FAULTY_QUEUE_TOKENS,
    )
    server = Server(config, start)
    server.listen()
    loading = threading.Thread(target=server.load)
    loading.start()
    with ExitStack() as ends:
        ends.callback(loading.join)
        ends.callback(server.stop, 0)
        ends.callback(end.set)
        ends.callback(engines["busy"].release)
        _wait(others_are_ready)
        with _held(server.target, engines["busy"]), _queue_held(server.target):
            yield server


@contextmanager
def guarded(checkpoint: Path, folder: Path) -> Iterator[Server]:
    """Run a server that authenticates callers, one of whom is far over the rate limit."""
    callers = folder / "callers.toml"
    callers.write_bytes(
        callers_toml(
            {
                name: {"tokens": (token_of(name),), **rights}
                for name, rights in limits.CALLERS.items()
            }
        )
    )
    models = [f"{name}={checkpoint}" for name in limits.GUARDED_MODELS]
    config = _config(*models, callers=str(callers))
    with Server(config, FaultyEngine().launch) as server:
        with grpc.insecure_channel(server.target) as channel:
            texts = [pb.TextInput(text="no " * 200)] * limits.MAX_TEXTS_PER_CALL
            ClassifyServiceStub(channel).BatchClassify(
                pb.BatchClassifyRequest(inputs=texts),
                metadata=(("authorization", f"Bearer {token_of('greedy')}"),),
            )
        yield server


@contextmanager
def draining(checkpoint: Path) -> Iterator[Server]:
    """Run a draining server; a call in its engine keeps it from stopping."""
    engine = FaultyEngine()
    config = _config(f"{EMBEDDED}={checkpoint}", drain_timeout_s=86_400)
    server = Server(config, engine.launch)
    server.start()
    with ExitStack() as ends:
        stopping = threading.Thread(target=server.stop)
        with _held(server.target, engine):
            stopping.start()
            ends.callback(stopping.join)
            ends.callback(engine.release)
            channel = ends.enter_context(grpc.insecure_channel(server.target))
            info = ModelServiceStub(channel).GetServerInfo
            _wait_for(grpc.StatusCode.UNAVAILABLE, lambda: info(pb.GetServerInfoRequest()))
            yield server
            engine.release()


@contextmanager
def _held(target: str, engine: FaultyEngine) -> Iterator[None]:
    """Occupy the engine of a server's default model with a call."""
    with grpc.insecure_channel(target) as channel:
        request = pb.ClassifyRequest(input=pb.TextInput(text=HOLD))
        call = ClassifyServiceStub(channel).Classify.future(request)
        _wait(engine.busy)
        yield
        call.cancel()


@contextmanager
def _queue_held(target: str) -> Iterator[None]:
    """Let a stream's item wait for a busy engine: an empty queue admits calls of any size."""
    end = threading.Event()

    def requests() -> Iterator[pb.StreamClassifyRequest]:
        yield pb.StreamClassifyRequest(config=pb.StreamConfig())
        item = pb.StreamItem(id="waits", input=pb.TextInput(text="It waits"))
        yield pb.StreamClassifyRequest(items=pb.StreamItems(items=[item]))
        end.wait()

    with grpc.insecure_channel(target) as channel:
        stub = ClassifyServiceStub(channel)
        stream = stub.StreamClassify(requests())
        next(stream)
        large = pb.ClassifyRequest(input=pb.TextInput(text="no " * limits.FAULTY_QUEUE_TOKENS))
        _wait_for(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: stub.Classify(large))
        yield
        stream.cancel()
        end.set()


def _wait(event: threading.Event) -> None:
    if not event.wait(PATIENCE_S):
        raise TimeoutError("a server of the kit did not reach its state")


def _wait_for(code: grpc.StatusCode, call: Callable[[], object]) -> None:
    """Repeat a call until it ends with a status code; before, it may be answered late."""
    give_up_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_s:
        try:
            call()
        except grpc.RpcError as error:
            if error.code() is code:
                return
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                raise
    raise TimeoutError(f"a server of the kit did not reach {code.name}")


@contextmanager
def secure(folder: Path) -> Iterator[tuple[str, str]]:
    """Run a server with TLS and the embedded checkpoint.

    Yields its address and the file of its certificate authority, in `folder`.
    """
    authority = trustme.CA()
    pair = Pair.at(folder, authority.issue_cert("127.0.0.1"))
    config = _config(f"{EMBEDDED}={EMBEDDED_FOLDER}", **pair.settings)
    with Server(config, launch_forked) as server:
        yield server.target, str(ca_file(folder, authority))


@contextmanager
def running(launch: Callable[..., Launched] = launch_forked) -> Iterator[dict[str, str]]:
    """Run all servers while the context lasts; yields addresses by their names in vectors.json."""
    with ExitStack() as servers:
        folder = Path(servers.enter_context(tempfile.TemporaryDirectory()))
        checkpoint = make_faulty(folder / "faulty")
        serving = servers.enter_context(Server(serving_config(folder), launch))
        yield {
            "serving": serving.target,
            "faulty": servers.enter_context(faulty(checkpoint)).target,
            "draining": servers.enter_context(draining(checkpoint)).target,
            "guarded": servers.enter_context(guarded(checkpoint, folder)).target,
        }


def _when_input_ends(tell: Callable[[], None]) -> None:
    while os.read(sys.stdin.fileno(), 1_024):
        pass
    tell()


def main() -> None:
    """Run the servers until standard input ends or SIGTERM."""
    end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: end.set())
    threading.Thread(target=_when_input_ends, args=(end.set,), daemon=True).start()
    with running() as targets:
        print(" ".join(f"{name}={target}" for name, target in targets.items()), flush=True)
        end.wait()


if __name__ == "__main__":
    main()

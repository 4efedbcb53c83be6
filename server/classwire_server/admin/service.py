"""AdminService: translates between protobuf and model changes, and reports the server's status."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from queue import SimpleQueue
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from classwire.admin.v1 import admin_pb2 as pb
from classwire.contract.reasons import Reason
from classwire_server.config.model_source import MODEL_NAME, ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import ConfigError, RequestError, draining
from classwire_server.gate import Gate
from classwire_server.registry.memory_budget import MB
from classwire_server.registry.registry import Entry, Registry, ServedModel
from classwire_server.rpc.call import Call
from classwire_server.rpc.status import duration
from classwire_server.service.models import describe
from classwire_server.service.streaming.streams import Streams

from .changes import Change, Changes, Say, Stage

MAX_LOCATION_BYTES = 1_024
"""Limit of a checkpoint or revision. An error repeats it in metadata of a few KiB."""

STAGES: Mapping[Stage, Any] = {
    Stage.LOADING: pb.CHANGE_STAGE_LOADING,
    Stage.FINISHING: pb.CHANGE_STAGE_FINISHING,
}


class AdminService:
    """The RPCs of AdminService, as functions on messages. Safe for use by any thread.

    `drain` starts the shutdown of the server and returns. The service rejects changes until
    `allow_changes`, while the server loads its first models.
    """

    def __init__(
        self,
        registry: Registry,
        changes: Changes,
        gate: Gate,
        streams: Streams,
        config: ServerConfig,
        drain: Callable[[], None],
    ) -> None:
        self._registry = registry
        self._changes = changes
        self._gate = gate
        self._streams = streams
        self._config = config
        self._drain = drain
        self._is_open = False

    def allow_changes(self) -> None:
        """Accept changes of models from now on."""
        self._is_open = True

    def forbid_changes(self) -> None:
        """Reject changes of models from now on, for good."""
        self._changes.close()

    def load_model(
        self, request: pb.LoadModelRequest, call: Call
    ) -> Iterator[pb.LoadModelResponse]:
        """Add a model."""
        source = self._source(request.name, request.checkpoint, request.revision)
        self._check_open()
        for stage in self._stages(lambda say: self._changes.load(source, say), call):
            yield pb.LoadModelResponse(stage=stage)
        yield pb.LoadModelResponse(stage=pb.CHANGE_STAGE_DONE, model=self._described(source.name))

    def reload_model(
        self, request: pb.ReloadModelRequest, call: Call
    ) -> Iterator[pb.ReloadModelResponse]:
        """Replace a model."""
        self._check_open()
        name = self._registry.entry(request.name, "name").source.name
        given = None
        if request.checkpoint:
            given = self._source(name, request.checkpoint, request.revision)

        def source(before: ModelSource) -> ModelSource:
            if given is not None:
                return given
            if request.revision:
                return self._source(name, before.location, request.revision)
            return before

        for stage in self._stages(lambda say: self._changes.reload(name, source, say), call):
            yield pb.ReloadModelResponse(stage=stage)
        yield pb.ReloadModelResponse(stage=pb.CHANGE_STAGE_DONE, model=self._described(name))

    def unload_model(self, request: pb.UnloadModelRequest, call: Call) -> pb.UnloadModelResponse:
        """Unload a model."""
        self._check_open()
        self._changes.unload(_named(request.name), request.new_default)
        return pb.UnloadModelResponse()

    def set_default_model(
        self, request: pb.SetDefaultModelRequest, call: Call
    ) -> pb.SetDefaultModelResponse:
        """Set the default model."""
        self._check_open()
        self._changes.set_default(_named(request.name))
        return pb.SetDefaultModelResponse()

    def drain(self, request: pb.DrainRequest, call: Call) -> pb.DrainResponse:
        """Start the shutdown of the server."""
        self._drain()
        return pb.DrainResponse(
            calls_in_flight=self._gate.in_flight, timeout=duration(self._config.drain_timeout_s)
        )

    def get_status(self, request: pb.GetStatusRequest, call: Call) -> pb.GetStatusResponse:
        """Return the state of the server, its models and any change in progress."""
        change = self._changes.current
        return pb.GetStatusResponse(
            state=self._state(),
            models=map(_status, self._registry.entries()),
            calls_in_flight=self._gate.in_flight,
            open_streams=self._streams.open,
            change=None if change is None else _progress(change),
            memory_budget_bytes=self._config.memory_budget_mb * MB,
        )

    def list_poison_inputs(
        self, request: pb.ListPoisonInputsRequest, call: Call
    ) -> pb.ListPoisonInputsResponse:
        """Return how many texts of each model are poison, and since when."""
        response = pb.ListPoisonInputsResponse()
        for name, served in self._served(request.model):
            inputs = served.dispatcher.poison_inputs()
            if inputs.count:
                response.poison_inputs.add(
                    model=name,
                    count=inputs.count,
                    first_time=_time_of(inputs.first_s),
                    last_time=_time_of(inputs.last_s),
                )
        return response

    def clear_poison_inputs(
        self, request: pb.ClearPoisonInputsRequest, call: Call
    ) -> pb.ClearPoisonInputsResponse:
        """Let poison texts run again."""
        models = self._served(request.model)
        count = sum(served.dispatcher.clear_poison() for _, served in models)
        return pb.ClearPoisonInputsResponse(count=count)

    def _served(self, name: str) -> list[tuple[str, ServedModel]]:
        """A loaded model, or all of them for an empty name."""
        if name:
            return [(name, self._registry.served(name, "model"))]
        return [
            (entry.source.name, entry.served)
            for entry in self._registry.entries()
            if entry.served is not None
        ]

    def _state(self) -> Any:
        if not self._gate.is_open:
            return pb.SERVER_STATE_DRAINING
        return pb.SERVER_STATE_SERVING if self._is_open else pb.SERVER_STATE_LOADING

    def _check_open(self) -> None:
        if not self._gate.is_open:
            raise draining()
        if not self._is_open:
            raise RequestError(Reason.LOADING, "the server is still loading its models")

    def _source(self, name: str, checkpoint: str, revision: str) -> ModelSource:
        if not checkpoint:
            raise _bad("checkpoint", "has no folder or hub id")
        for field, text in (("checkpoint", checkpoint), ("revision", revision)):
            if len(text.encode()) > MAX_LOCATION_BYTES:
                raise _bad(field, f"is larger than {MAX_LOCATION_BYTES:,} bytes")
        if name and not MODEL_NAME.fullmatch(name):
            raise _bad("name", "does not match [a-z0-9._-]{1,63}")
        text = f"{name}={checkpoint}" if name else checkpoint
        try:
            return ModelSource.parse(text, revision or self._config.revision)
        except ConfigError as error:
            raise _bad("name", error.problem) from None

    def _described(self, name: str) -> Any:
        return describe(self._registry.entry(name, "name"))

    def _stages(self, change: Callable[[Say], None], call: Call) -> Iterator[Any]:
        """Yield the stages of a change. The change goes on if its caller disconnects.

        Raises the error of the change. Raises DRAINING at once if the server shuts down before the
        model is loaded, because it will never be used.
        """
        events: SimpleQueue[Stage | Exception | None] = SimpleQueue()
        reached: list[Stage] = []

        def say(stage: Stage) -> None:
            reached.append(stage)
            events.put(stage)

        def run() -> None:
            try:
                change(say)
                events.put(None)
            except Exception as error:  # the call's thread raises it
                events.put(error)

        def server_ends() -> None:
            if Stage.FINISHING not in reached:
                events.put(draining())

        threading.Thread(target=run, name="change", daemon=True).start()
        call.when_over(lambda: events.put(None))
        call.when_over(self._gate.listen(server_ends))
        while (event := events.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield STAGES[event]


def _status(entry: Entry) -> pb.ModelStatus:
    status = pb.ModelStatus(model=describe(entry))
    if entry.served is not None:
        backlog = entry.served.dispatcher.backlog()
        status.calls_in_flight = entry.served.gate.in_flight
        status.waiting_texts = entry.served.dispatcher.waiting_texts
        status.waiting_tokens = sum(backlog.waiting_tokens.values())
        status.memory_bytes = entry.served.memory_bytes
    return status


def _progress(change: Change) -> pb.Change:
    return pb.Change(
        model=change.model,
        stage=STAGES[change.stage],
        elapsed=duration(time.monotonic() - change.began_s),
    )


def _time_of(instant_s: float) -> Timestamp:
    """The time of an instant of the monotonic clock."""
    result = Timestamp()
    result.FromMicroseconds(round((time.time() - time.monotonic() + instant_s) * 1e6))
    return result


def _named(name: str) -> str:
    if not name:
        raise _bad("name", "is empty")
    return name


def _bad(field: str, problem: str) -> RequestError:
    return RequestError(Reason.BAD_OPTION, f"{field} {problem}", field=field)

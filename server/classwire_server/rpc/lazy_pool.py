"""Calls of one message, before their message is there."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from grpc import _server
from grpc._cython import cygrpc  # type: ignore[attr-defined]

from .receive_timeout import Patience

PATIENCE_S = 10.0
"""How long a call may take to send its message: what it holds is memory."""
_NO_FLAGS = 0


class Arrivals(ThreadPoolExecutor):
    """Threads for calls of one message: a call takes one once its message is there, so that callers
    who send none hold none, however many they are. Where none comes for PATIENCE_S, the call ends.

    grpcio would give a thread to every call as soon as it is opened, and wait for the message
    there. It has no other way, so this does with its inner parts what they do on that thread.
    """

    def __init__(self, threads: int, name: str) -> None:
        super().__init__(threads, thread_name_prefix=name)
        self._patience = Patience(PATIENCE_S)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Serve a call, as grpcio hands it over on its own thread, as soon as there is its message,
        or none can come any more, and then a thread.
        """
        serve, event, state, behavior, _, *codec = args
        receive = _server._receive_message(state, event.call, None)
        served: Future[Any] = Future()

        def arrived(arrival: Any) -> Any:
            self._patience.end(event.call)
            over = receive(arrival)
            messages = () if state.request is None else (state.request,)
            state.request = None
            serving = super(Arrivals, self).submit(
                fn, serve, event, state, behavior, lambda: iter(messages), *codec
            )
            serving.add_done_callback(lambda _: served.set_result(None))
            return over

        self._patience.begin(event.call)
        with state.condition:
            event.call.start_server_batch((cygrpc.ReceiveMessageOperation(_NO_FLAGS),), arrived)
            state.due.add(_server._RECEIVE_MESSAGE_TOKEN)
        return served

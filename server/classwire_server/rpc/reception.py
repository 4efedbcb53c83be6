"""Callers who open a call and do not send its messages: they would hold a thread for ever."""

from collections.abc import Iterator

import grpc

from .receive_timeout import Patience


class Reception:
    """Waits for the messages of calls, for so long. Safe for use by any thread."""

    def __init__(self, patience_s: float) -> None:
        self._patience = Patience(patience_s)

    def message(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """The message of a call that has just begun; the call ends where there is none."""
        self._patience.begin(context)
        try:
            return only_message(requests, context)
        finally:
            self._patience.end(context)

    def messages(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """The messages of a new stream; all of them, and their answers, have the time of one."""
        self._patience.begin(context)
        try:
            yield from requests
        finally:
            self._patience.end(context)


def only_message(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
    """The message of a call, however long it takes; the call ends where there is none."""
    message = next(requests, None)
    if message is None:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "the call takes one message")
    return message

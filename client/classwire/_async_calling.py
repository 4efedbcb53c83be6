"""What calls of grpc.aio fail with, as errors of ours."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import grpc

from ._session import Session
from .errors import Unavailable

_FAILED_WRITE = "Internal error from Core"
"""What grpc.aio says in place of the status when a message meets a call that has just ended."""


@contextlib.contextmanager
def calling(session: Session) -> Iterator[None]:
    """Around a call, and what reads its responses: as `Session.calling`."""
    session.check()
    try:
        yield
    except grpc.RpcError as error:
        failure = session.failure(error)
        if failure.message == _FAILED_WRITE:
            failure = Unavailable("the call ended while a message was on its way")
        raise failure from error
    except asyncio.CancelledError:
        # How grpc.aio tells of that status too.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise session.cancellation() from None

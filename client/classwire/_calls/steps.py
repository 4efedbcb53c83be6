"""The steps of a unary operation, and their retries. No IO here.

An operation is a generator that yields steps and receives their answers. `retried` turns it into
one that yields a client's actions: calls and pauses.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

from classwire.errors import ClasswireError, UnimplementedError
from classwire.v1 import classwire_pb2 as pb

from .retry import Deadline, Retry, is_timeout


@dataclass(frozen=True, slots=True)
class Call:
    """One unary call to make: a method of a service, and its request. The answer is a `Reply`.

    A call of the health service is not repeated: its answer says how things are now.
    """

    service: Literal["classify", "models", "health"]
    method: str
    request: Any


class Reply(NamedTuple):
    """The response of a call, and the id that the server gave the call."""

    message: Any
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Again:
    """A request to send texts again that failed with `error`.

    The answer comes after the pause: True if there is time to send them again.
    `progressed` is whether other texts of the same call got their answers; the backoff then starts
    over.
    """

    error: ClasswireError
    progressed: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """A time to wait, in seconds."""

    seconds: float


R = TypeVar("R")
Steps: TypeAlias = Generator[Call | Again, Any, R]
Actions: TypeAlias = Generator[Call | Pause, Any, R]


def newer_call(call: Call) -> Steps[Reply]:
    """Make a call that older servers do not have; the error says so if the server is one."""
    try:
        reply: Reply = yield call
    except UnimplementedError as error:
        if error.reason is not None:
            raise
        raise (yield from _of_older_server(call, error)) from error
    return reply


def _of_older_server(call: Call, error: UnimplementedError) -> Steps[UnimplementedError]:
    """A clearer error if a Classwire server lacks the method; else the same, as for a server of
    something else.
    """
    try:
        response, _ = yield Call("models", "GetServerInfo", pb.GetServerInfoRequest())
    except ClasswireError:
        return error
    return UnimplementedError(
        f"the server, Classwire {response.version}, is older than this client: "
        f"it has no {call.method}",
        request_id=error.request_id,
    )


def retried(steps: Steps[R], retry: Retry, deadline: Deadline) -> Actions[R]:
    """Take all steps, and repeat failed calls within the deadline."""
    try:
        step = next(steps)
        while True:
            try:
                answer = yield from _answered(step, retry, deadline)
            except ClasswireError as error:
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as done:
        result: R = done.value
        return result


def _answered(step: Call | Again, retry: Retry, deadline: Deadline) -> Actions[Any]:
    if isinstance(step, Again):
        if step.progressed:
            retry.progressed(step.error)
        pause_s = retry.pause_s(step.error, deadline.left_s())
        if pause_s is None:
            return False
        yield Pause(pause_s)
        return True
    last: ClasswireError | None = None
    while True:
        try:
            return (yield step)
        except ClasswireError as error:
            if last is not None and is_timeout(error):
                raise last from error  # the error before the deadline says more
            is_tried_again = step.service != "health"
            pause_s = retry.pause_s(error, deadline.left_s()) if is_tried_again else None
            if pause_s is None:
                raise
            last = error
        yield Pause(pause_s)

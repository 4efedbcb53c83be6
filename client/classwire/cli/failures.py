"""Errors of commands: one line on standard error, and an exit code."""

import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import click

from classwire.escaping import visible

if TYPE_CHECKING:
    from classwire import ClasswireError

FAILED = 1
"""The server or the machine failed, or one of several texts has an error."""
WRONG_USE = 2
"""The command line or its input was wrong: the same command would fail again."""
INTERRUPTED = 130
"""Ctrl-C, as shells count it: 128 + SIGINT."""

_PATH = re.compile(
    r"^(?:items\.items\[\d+\]\.|inputs\[\d+\]\.|documents\[\d+\])?"
    r"(?:(?:config|input|options|windows)\.)*"
)


class Failure(click.ClickException):
    """Ends the command with one line on standard error and `exit_code`."""

    exit_code = FAILED


class WrongUse(Failure):
    """The command line, or a file that it names, is wrong."""

    exit_code = WRONG_USE


class Interrupted(Failure):
    """Ctrl-C."""

    exit_code = INTERRUPTED


HANG_UP = getattr(signal, "SIGHUP", None)
"""The signal of a terminal that closes; None on Windows."""


@contextmanager
def terminating(*, at_hang_up: bool = False) -> Iterator[None]:
    """While inside, SIGTERM unwinds the command, as Ctrl-C does, and the exit code is 143.

    With `at_hang_up`, so does SIGHUP, with the exit code 129, unless it is ignored, as by `nohup`.
    For the main thread.
    """

    def terminated(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, terminated)}
    if at_hang_up and HANG_UP is not None and signal.getsignal(HANG_UP) is not signal.SIG_IGN:
        before[HANG_UP] = signal.signal(HANG_UP, terminated)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """While inside, SIGINT, SIGTERM and SIGHUP wait. They take effect at its end.

    For the main thread.
    """
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, *([] if HANG_UP is None else [HANG_UP]))
    before = {each: signal.signal(each, lambda number, _: came.append(number)) for each in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def explain(error: Exception) -> tuple[str, int]:
    """Return the line and the exit code for an error that ended a command."""
    from classwire import ClasswireError

    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "classwire"
        return f"{one_line(error.format_message())} Try '{path} --help'.", WRONG_USE
    if isinstance(error, click.ClickException):
        return one_line(error.format_message()), error.exit_code
    if isinstance(error, click.Abort):
        return "interrupted", INTERRUPTED
    if isinstance(error, ClasswireError):
        return described(error), WRONG_USE if is_wrong_use(error) else FAILED
    if isinstance(error, OSError) and error.filename is not None:
        return one_line(f"{error.filename}: {error.strerror}"), WRONG_USE
    if isinstance(error, OSError) and error.strerror:
        return one_line(error.strerror), FAILED
    return f"{type(error).__name__}: {one_line(str(error))}", FAILED


def is_wrong_use(error: BaseException | None) -> bool:
    """Whether the command line, a file or the server's setting for it is wrong, so that the same
    command would fail again.
    """
    from classwire import InvalidInputError, UnknownModelError

    return isinstance(error, WrongUse | InvalidInputError | UnknownModelError)


def described(error: "ClasswireError", subject: str = "") -> str:
    """Return the error's message, with its field unless the message names it, and the subject."""
    field = field_name(error)
    message = one_line(error.message)
    if field not in message:
        message = f"{field}: {message}"
    return f"{subject}: {message}" if subject else message


def field_name(error: "ClasswireError") -> str:
    """Return the wrong field without the path to it, which users of the command do not know."""
    return _PATH.sub("", error.field or "")


def one_line(message: str) -> str:
    """Return the message without line breaks and with other control characters escaped."""
    return visible(" ".join(message.split()))

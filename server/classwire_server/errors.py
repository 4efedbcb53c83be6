"""Errors of the server, independent of gRPC.

ClasswireServerError
├── Refusal        the server rejects a call, or one text of it
│   ├── RequestError     the caller's error; carries a `Reason`
│   └── ChangeRefused    an operator's change of the models; carries an `AdminReason`
├── NoWorker       no process was up to run a batch, or it ended before it began the batch
├── TooLate        a deadline in a batch passed before the batch began
├── WorkerLost     a process ended while it ran a batch
├── BadLogits      the model's own logits for a text give no scores
├── CompileError   a model cannot be compiled; the server runs it uncompiled, which is slower
└── StartError     the server cannot start with its settings; one line for people
    ├── ConfigError      a setting is wrong; names it
    │   └── OverBudget   models would need more memory than the budget
    └── CheckpointError  a checkpoint cannot be served
"""

import os
import re
import traceback
from collections.abc import Mapping
from types import MappingProxyType

from classwire.contract.reasons import AdminReason, Reason

_NOTHING: Mapping[str, str] = MappingProxyType({})
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_MAX_LINE = 300


class ClasswireServerError(Exception):
    """Base of the server's own errors."""


class Refusal(ClasswireServerError):
    """The server rejects a call, or one text of it.

    `message` is for people and never contains the caller's text. `field` is the path of the wrong
    field in the request, for example `inputs[3].text`, or empty. `metadata` holds the values in the
    message. `retry_after_s` is the retry delay in seconds, or None.
    """

    reason: Reason | AdminReason

    def __init__(
        self,
        message: str,
        field: str = "",
        metadata: Mapping[str, str] = _NOTHING,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.metadata = metadata
        self.retry_after_s = retry_after_s


class RequestError(Refusal):
    """One call, or one text of it, gets no answer.

    The caller's rate pays for `tokens`, which the server made before it rejected the text.
    """

    reason: Reason

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        field: str = "",
        metadata: Mapping[str, str] = _NOTHING,
        retry_after_s: float | None = None,
        tokens: int = 0,
    ) -> None:
        super().__init__(message, field, metadata, retry_after_s)
        self.reason = reason
        self.tokens = tokens


class ChangeRefused(Refusal):
    """The server rejects a change of its models, which stay as they were."""

    reason: AdminReason

    def __init__(
        self,
        reason: AdminReason,
        message: str,
        *,
        field: str = "",
        metadata: Mapping[str, str] = _NOTHING,
    ) -> None:
        super().__init__(message, field, metadata)
        self.reason = reason


class NoWorker(ClasswireServerError):
    """No process of the model began the batch: none was up, or it ended first."""


class TooLate(ClasswireServerError):
    """A batch was not begun: a deadline of its texts had passed when a lane became free."""


class WorkerLost(ClasswireServerError):
    """The model's process ended, or was killed, after it had begun a batch.

    The batch may be the cause. `is_alone` says that the process held no other batch.
    """

    def __init__(self, *, is_alone: bool = False) -> None:
        super().__init__()
        self.is_alone = is_alone


class BadLogits(ClasswireServerError):
    """The model itself computed NaN for a text: its weights, or their precision, are the cause."""


class CompileError(ClasswireServerError):
    """A model cannot be compiled, or its compiled form not loaded; one line for people."""


class StartError(ClasswireServerError):
    """The server cannot start with its settings; its text is one line for people."""


class ConfigError(StartError):
    """A setting is wrong.

    `setting` is its name in `ServerConfig`; the message names its command-line option.
    """

    def __init__(self, setting: str, problem: str) -> None:
        super().__init__(f"--{setting.replace('_', '-')}: {problem}")
        self.setting = setting
        self.problem = problem

    def __reduce__(self) -> tuple[type["ConfigError"], tuple[str, str]]:
        return type(self), (self.setting, self.problem)


class OverBudget(ConfigError):
    """Models would need more memory than the budget. Sizes are in MB, rounded up."""

    def __init__(self, needs_mb: int, in_use_mb: int, budget_mb: int, name: str) -> None:
        super().__init__(
            "memory_budget_mb",
            f"{name} needs {needs_mb} MB, and {in_use_mb} of {budget_mb} MB are in use",
        )
        self.needs_mb = needs_mb
        self.in_use_mb = in_use_mb
        self.budget_mb = budget_mb


class CheckpointError(StartError):
    """A checkpoint cannot be served; the message names it and the cause."""


def expired_in_queue() -> RequestError:
    """The error of a text whose deadline passed in the queue."""
    return RequestError(Reason.EXPIRED_IN_QUEUE, "the time limit passed before the model ran")


def draining() -> RequestError:
    """The error of a text whose server shuts down, or whose model is replaced."""
    return RequestError(Reason.DRAINING, "the server, or the model, is going away")


def worker_lost() -> RequestError:
    """The error of a text for which no process of the model is up."""
    return RequestError(Reason.WORKER_LOST, "the model's process has ended and is being restarted")


def poison_input() -> RequestError:
    """The error of a text that two processes of the model did not survive, each with it alone."""
    return RequestError(Reason.POISON_INPUT, "the model's process ended twice on this text")


def telling_line(error: BaseException) -> str:
    """One line of an exception's text: the first that does not end with a colon.

    For a text of at most one word it adds the exception's type and place. At most 300 characters.
    """
    lines = [line.strip() for line in _COLOUR.sub("", str(error)).splitlines() if line.strip()]
    while len(lines) > 1 and lines[0].endswith(":"):
        lines.pop(0)
    line = re.sub(r"^\w+(Error|Exception): ", "", lines[0]) if lines else ""
    if " " not in line:
        line = f"{type(error).__name__} {line}".strip()
        if frames := traceback.extract_tb(error.__traceback__):
            place = frames[-1]
            line += f" in {os.path.basename(place.filename)}, line {place.lineno}: {place.line}"
    return line if len(line) <= _MAX_LINE else f"{line[: _MAX_LINE - 1]}…"

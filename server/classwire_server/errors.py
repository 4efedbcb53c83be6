"""Domain errors, without any transport in them.

ClasswireServerError
├── Refusal        a call, or one text of it, ends with an error
│   ├── RequestError     it cannot be answered; carries a `Reason`
│   └── ChangeRefused    models cannot be changed so; carries an `AdminReason`
├── NoWorker       there is no process to give a batch to
├── TooLate        a batch's turn has come too late for one of its texts
├── WorkerLost     the process that held a batch has ended
├── CompileError   a model cannot be compiled; the plain one serves as well, and slower
└── StartError     the server cannot start as it was asked to; one line for people
    ├── ConfigError      a setting is wrong; names it
    │   └── OverBudget   models would need more memory than the server was given
    └── CheckpointError  a checkpoint cannot be served
"""

from collections.abc import Mapping
from types import MappingProxyType

from classwire.contract.reasons import AdminReason, Reason

_NOTHING: Mapping[str, str] = MappingProxyType({})


class ClasswireServerError(Exception):
    """Base of the server's own errors."""


class Refusal(ClasswireServerError):
    """A call, or one text of it, ends with an error.

    `message` is for people and never holds the caller's text. `field` is the path of the wrong
    field in the request, such as `inputs[3].text`, or empty. `metadata` holds the values that the
    message speaks of. `retry_after_s` is in seconds, or None.
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
    """One call, or one text of it, cannot be answered."""

    reason: Reason

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        field: str = "",
        metadata: Mapping[str, str] = _NOTHING,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, field, metadata, retry_after_s)
        self.reason = reason


class ChangeRefused(Refusal):
    """Models cannot be changed so, and are as they were."""

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
    """A batch was never begun: the model has no process at the moment."""


class TooLate(ClasswireServerError):
    """A batch was not begun: when its turn came, the time of one of its texts had passed."""


class WorkerLost(ClasswireServerError):
    """The model's process ended, or was ended, while it held a batch.

    The batch may be the reason.
    """


class CompileError(ClasswireServerError):
    """A model cannot be compiled, or not be loaded; its text is one line for people."""


class StartError(ClasswireServerError):
    """The server cannot start as it was asked to; its text is one line for people."""


class ConfigError(StartError):
    """A setting is wrong.

    `setting` is its name, as in `ServerConfig`; the text names it in the form it has on the command
    line.
    """

    def __init__(self, setting: str, problem: str) -> None:
        super().__init__(f"--{setting.replace('_', '-')}: {problem}")
        self.setting = setting
        self.problem = problem

    def __reduce__(self) -> tuple[type["ConfigError"], tuple[str, str]]:
        return type(self), (self.setting, self.problem)


class OverBudget(ConfigError):
    """Models would need more memory than the server was given; in MB, rounded up."""

    def __init__(self, needs_mb: int, in_use_mb: int, budget_mb: int, name: str) -> None:
        super().__init__(
            "memory_budget_mb",
            f"{name} needs {needs_mb} MB, and {in_use_mb} of {budget_mb} MB are in use",
        )
        self.needs_mb = needs_mb
        self.in_use_mb = in_use_mb
        self.budget_mb = budget_mb


class CheckpointError(StartError):
    """A checkpoint cannot be served; the text says which and why."""


def expired_in_queue() -> RequestError:
    """The time of a text has passed."""
    return RequestError(Reason.EXPIRED_IN_QUEUE, "the time limit passed before the model ran")


def draining() -> RequestError:
    """The server ends, or the model is another."""
    return RequestError(Reason.DRAINING, "the server, or the model, is going away")


def worker_lost() -> RequestError:
    """There is no process to run the model."""
    return RequestError(Reason.WORKER_LOST, "the model's process has ended and is being restarted")


def poison_input() -> RequestError:
    """The process ended on this text, and on this text alone."""
    return RequestError(Reason.POISON_INPUT, "the model's process ended twice on this text")

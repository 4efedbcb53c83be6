"""Parameters of requests and outputs."""

import math
from collections.abc import Mapping

from classwire.contract.reasons import Reason
from classwire_server.errors import RequestError
from classwire_server.scheduling.batch import Priority

from . import inference_pb2 as pb

Parameters = Mapping[str, pb.InferParameter]

PRIORITIES = {1: Priority.INTERACTIVE, 2: Priority.BULK}


def bad(field: str, problem: str, reason: Reason = Reason.BAD_OPTION) -> RequestError:
    """An error with the field in its message: Triton's clients show only the message."""
    return RequestError(reason, f"{field} {problem}", field=field)


def priority(parameters: Parameters, default: Priority) -> Priority:
    """The priority of a request; like Triton, the default for an unknown priority."""
    level = _integer(parameters, "priority", "parameters", ("int64_param", "uint64_param"))
    return default if level is None else PRIORITIES.get(level, default)


def timeout_s(parameters: Parameters) -> float:
    """The timeout of a request; math.inf for none."""
    timeout_us = _integer(parameters, "timeout", "parameters", ("int64_param",))
    return timeout_us / 1e6 if timeout_us else math.inf


def classes(parameters: Parameters, field: str) -> int:
    """How many classes an output returns; 0 for scores."""
    count = _integer(parameters, "classification", f"{field}.parameters", ("int64_param",))
    if count == 0:
        raise bad(f"{field}.parameters[classification]", "is not at least 1")
    return count or 0


def reject_shared_memory(parameters: Parameters, field: str) -> None:
    """Raises RequestError BAD_OPTION when a tensor lies in shared memory."""
    for name in ("shared_memory_region", "shared_memory_offset", "shared_memory_byte_size"):
        if name in parameters:
            raise bad(f"{field}.parameters[{name}]", "is not supported: there is no shared memory")


def _integer(parameters: Parameters, name: str, field: str, kinds: tuple[str, ...]) -> int | None:
    """A parameter that must be a non-negative integer; None where it is absent."""
    if name not in parameters:
        return None
    kind = parameters[name].WhichOneof("parameter_choice")
    value = getattr(parameters[name], kind) if kind in kinds else -1
    if value < 0:
        raise bad(f"{field}[{name}]", f"is not an {' or '.join(kinds)} of at least 0")
    return int(value)

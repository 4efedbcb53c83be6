"""The reasons of `classwire.admin.v1` beside those of the contract, and their status codes."""

from collections.abc import Mapping
from enum import StrEnum

import grpc


class AdminReason(StrEnum):
    """Why a model was not loaded, replaced or unloaded."""

    MODEL_EXISTS = "MODEL_EXISTS"
    """There is a model of that name; it can be reloaded."""
    BAD_CHECKPOINT = "BAD_CHECKPOINT"
    """The checkpoint cannot be served; the message says why."""
    OVER_MEMORY_BUDGET = "OVER_MEMORY_BUDGET"
    """All models together would need more memory than the server was given."""
    IS_DEFAULT = "IS_DEFAULT"
    """The model is the default one, and no other was named."""
    CHANGE_IN_PROGRESS = "CHANGE_IN_PROGRESS"
    """Another change of a model is not over yet."""


ADMIN_CODES: Mapping[AdminReason, grpc.StatusCode] = {
    AdminReason.MODEL_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    AdminReason.BAD_CHECKPOINT: grpc.StatusCode.FAILED_PRECONDITION,
    AdminReason.OVER_MEMORY_BUDGET: grpc.StatusCode.FAILED_PRECONDITION,
    AdminReason.IS_DEFAULT: grpc.StatusCode.FAILED_PRECONDITION,
    AdminReason.CHANGE_IN_PROGRESS: grpc.StatusCode.ABORTED,
}
"""The one table of their status codes."""

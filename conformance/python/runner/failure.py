"""The error of a call, with the contract's details."""

from typing import Any

import grpc
from google.rpc import error_details_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status

DOMAIN = "classwire"


def failure_of(call: grpc.Call) -> dict[str, Any]:
    """Return a call's status in the form of a vector's `error`."""
    failure: dict[str, Any] = {"code": call.code().name}
    status = rpc_status.from_call(call)
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        request = error_details_pb2.BadRequest()
        if detail.Unpack(info):
            failure["reason"] = info.reason
            if info.domain != DOMAIN:
                failure["domain"] = info.domain
            if info.metadata:
                failure["metadata"] = dict(info.metadata)
        elif detail.Unpack(request):
            failure["field"] = request.field_violations[0].field
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            failure["retry"] = True
    return failure

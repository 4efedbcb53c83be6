"""An operator: short forms of the admin service's calls."""

from pathlib import Path
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from classwire.admin.v1 import admin_pb2 as pb
from classwire.admin.v1.admin_pb2_grpc import AdminServiceStub
from classwire.v1 import classwire_pb2
from tests.contract.engines import PATIENCE_S


class Operator:
    """Makes calls on a channel. Each returns when the change is done."""

    def __init__(
        self, channel: grpc.Channel, metadata: Any = (), timeout_s: float = PATIENCE_S
    ) -> None:
        self._stub: Any = AdminServiceStub(channel)
        self._how = {"timeout": timeout_s, "metadata": metadata}

    def status(self) -> pb.GetStatusResponse:
        """Call GetStatus."""
        answer: pb.GetStatusResponse = self._stub.GetStatus(pb.GetStatusRequest(), **self._how)
        return answer

    def begin_reload(self, name: str, checkpoint: Path | str = "") -> Any:
        """Start ReloadModel, and return its responses as they come."""
        request = pb.ReloadModelRequest(name=name, checkpoint=str(checkpoint))
        return self._stub.ReloadModel(request, **self._how)

    def reload(self, name: str, checkpoint: Path | str = "") -> classwire_pb2.Model:
        """Run ReloadModel to its end, and return the new model."""
        return _model(self.begin_reload(name, checkpoint))

    def begin_load(self, name: str, checkpoint: Path | str) -> Any:
        """Start LoadModel, and return its responses as they come."""
        request = pb.LoadModelRequest(name=name, checkpoint=str(checkpoint))
        return self._stub.LoadModel(request, **self._how)

    def load(self, name: str, checkpoint: Path | str) -> classwire_pb2.Model:
        """Run LoadModel to its end, and return the model."""
        return _model(self.begin_load(name, checkpoint))

    def unload(self, name: str, new_default: str = "") -> None:
        """Call UnloadModel."""
        request = pb.UnloadModelRequest(name=name, new_default=new_default)
        self._stub.UnloadModel(request, **self._how)

    def default(self, name: str) -> None:
        """Call SetDefaultModel."""
        self._stub.SetDefaultModel(pb.SetDefaultModelRequest(name=name), **self._how)

    def poison(self, model: str = "") -> list[pb.PoisonInputs]:
        """Call ListPoisonInputs."""
        request = pb.ListPoisonInputsRequest(model=model)
        return list(self._stub.ListPoisonInputs(request, **self._how).poison_inputs)

    def clear_poison(self, model: str = "") -> int:
        """Call ClearPoisonInputs, and return the number of texts."""
        request = pb.ClearPoisonInputsRequest(model=model)
        return int(self._stub.ClearPoisonInputs(request, **self._how).count)

    def drain(self) -> pb.DrainResponse:
        """Call Drain."""
        answer: pb.DrainResponse = self._stub.Drain(pb.DrainRequest(), **self._how)
        return answer


def _model(responses: Any) -> classwire_pb2.Model:
    *_, last = responses
    assert last.stage == pb.CHANGE_STAGE_DONE
    model: classwire_pb2.Model = last.model
    return model


def refusal(error: Any) -> tuple[str, str, str, dict[str, str]]:
    """Return the code, reason, message and metadata of a rejected call."""
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    info = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(details).details[0].Unpack(info)
    return error.code().name, info.reason, error.details(), dict(info.metadata)

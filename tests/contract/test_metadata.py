"""Call metadata up to and above the limit."""

import grpc
import pytest
from grpc_status import rpc_status

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.server import Server
from tests.contract.engines import PATIENCE_S

PAIR_BYTES = 32
"""HTTP/2's overhead of a pair, in addition to its name and value."""
GRPC_BYTES = 1_024
"""An upper bound of the headers that gRPC sends with every call."""


def test_below_the_limit(server: Server, classifier: ClassifyServiceStub) -> None:
    """Metadata just below the limit never fails a call."""
    request = pb.ClassifyRequest(input=pb.TextInput(text="I love it"))
    value = "x" * (server.config.max_metadata_bytes - GRPC_BYTES - PAIR_BYTES)

    for _ in range(20):
        assert classifier.Classify(request, metadata=(("x", value),), timeout=PATIENCE_S).result


@pytest.mark.parametrize("pairs", [1, 200])
def test_above_the_limit(server: Server, classifier: ClassifyServiceStub, pairs: int) -> None:
    """Metadata above the limit gets gRPC's own RESOURCE_EXHAUSTED; the next call is answered."""
    request = pb.ClassifyRequest(input=pb.TextInput(text="I love it"))
    size = server.config.max_metadata_bytes // pairs
    metadata = tuple((f"x{number}", "x" * size) for number in range(pairs))

    with pytest.raises(grpc.RpcError) as caught:
        classifier.Classify(request, metadata=metadata, timeout=PATIENCE_S)

    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert rpc_status.from_call(caught.value) is None
    assert classifier.Classify(request, timeout=PATIENCE_S).result.scores

"""A fake server for tests of code that uses Classwire. It has no model, and needs no torch.

    from classwire import Client, Reason
    from classwire.testing import FakeServer

    def test_my_code():
        with FakeServer(lambda text, pair: {"good": 0.9, "bad": 0.1}) as server:
            server.fail_text("what?", Reason.TOO_MANY_TOKENS)
            ...  # code that calls server.target
            assert server.requests[0].input.text == "what?"

It is a real gRPC server on a port of this machine, so the test runs the real client. It answers all
methods of ClassifyService, ModelService and health. Its errors have the status, details and
trailers of a real server's.
"""

from .failures import CODES
from .script import ReceivedCall
from .server import FakeServer

__all__ = ["CODES", "FakeServer", "ReceivedCall"]

"""A fake server for tests of code that uses Classwire. It has no model and needs no torch.

    from classwire import Client, Reason
    from classwire.testing import FakeServer

    def test_my_code():
        with FakeServer(lambda text, pair: {"good": 0.9, "bad": 0.1}) as server:
            server.fail_text("what?", Reason.TOO_MANY_TOKENS)
            ...  # code that calls server.target
            assert server.requests[0].input.text == "what?"

It is a real gRPC server on a port of this machine, so what is tested is the real client; it answers
all methods, and its errors have the status and details of the real one's.
"""

from .failures import CODES
from .server import FakeServer, ReceivedCall

__all__ = ["CODES", "FakeServer", "ReceivedCall"]

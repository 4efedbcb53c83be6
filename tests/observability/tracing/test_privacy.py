"""No span contains a text."""

from contextlib import suppress

import grpc

from classwire.v1 import classwire_pb2 as pb
from tests.contract.conversation import Conversation, item
from tests.contract.engines import PATIENCE_S
from tests.observability.tracing.conftest import Spans, Start, one

SECRET = "good book"


def test_no_text(traced: Start, spans: Spans) -> None:
    """No span quotes a text that is scored, fails, brings the worker down or is too long."""
    server = traced(ratio=1, max_tokens=8)
    texts = [SECRET, f"boom {SECRET}", f"nan {SECRET}", f"deadly {SECRET}", 9 * SECRET]
    for text in texts:
        with suppress(grpc.RpcError):
            server.stub.Classify(one(text), timeout=PATIENCE_S)
    batch = pb.BatchClassifyRequest(inputs=[pb.TextInput(text=text) for text in texts])
    server.stub.BatchClassify(batch, timeout=PATIENCE_S)
    with Conversation(server.channel) as stream:
        stream.send_items(*(item(str(number), text) for number, text in enumerate(texts)))
        stream.half_close()
        stream.read_to_end()
    server.server.stop()

    exported = [span.to_json() for span in spans.all()]
    assert len(exported) > 20
    assert not [line for line in exported if "book" in line]

"""No span says what was in a text."""

from contextlib import suppress

import grpc

from classwire.v1 import classwire_pb2 as pb
from tests.contract.conversation import Conversation, item
from tests.contract.engines import PATIENCE_S
from tests.observability.tracing.conftest import Spans, Start, one

SECRET = "good book"


def test_no_text(traced: Start, spans: Spans) -> None:
    """Whatever becomes of it: scored, a defect that quotes it, a lost worker, too long."""
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

    said = [span.to_json() for span in spans.all()]
    assert len(said) > 20
    assert not [line for line in said if "book" in line]

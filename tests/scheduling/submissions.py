"""Texts for a dispatcher, and their answers and errors."""

import itertools
import math
from queue import SimpleQueue

from classwire_server.errors import RequestError
from classwire_server.scheduling.batch import Answer, Pending, Priority
from classwire_server.scheduling.dispatcher import Dispatcher
from classwire_server.tokenization import Encoding, Text
from tests.contract.engines import PATIENCE_S, FakeEngine

_ids = itertools.count()


def pending(
    text: str,
    tokens: int = 1,
    deadline_s: float = math.inf,
    priority: Priority = Priority.INTERACTIVE,
    flow: str | None = None,
) -> Pending:
    """A text with ids of its own."""
    encoding = Encoding([next(_ids)] * tokens, [0] * tokens, 0, Text(text), None)
    return Pending(encoding, priority, SimpleQueue(), deadline_s, flow)


def again(text: Pending) -> Pending:
    """The same text from another caller."""
    return Pending(text.encoding, text.priority, SimpleQueue())


def answer(text: Pending) -> Answer:
    """The answer of a text, once it has ended."""
    error = failure(text)
    assert error is None, error
    assert text.answer is not None
    return text.answer


def failure(text: Pending) -> BaseException | None:
    """The error of a text, once it has ended; None if it has an answer."""
    if not text.ended:
        assert text in text.inbox.get(timeout=PATIENCE_S)
    return text.error


def reason(text: Pending) -> str:
    """The reason of a text's error."""
    error = failure(text)
    assert isinstance(error, RequestError)
    return error.reason


def occupy(dispatcher: Dispatcher, engine: FakeEngine) -> Pending:
    """Keep the engine busy until the test releases it."""
    slow = pending("slow")
    dispatcher.submit([slow])
    engine.wait_for(lambda engine: bool(engine.batches))
    return slow

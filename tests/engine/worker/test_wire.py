"""Batches and answers as bytes: what the other side reads is what was sent."""

import math
import struct

import numpy as np
import pytest

from classwire_server.engine import (
    ANY_TIME,
    EngineTraits,
    Execution,
    Layout,
    Precision,
    Terms,
)
from classwire_server.engine.packing import pack
from classwire_server.engine.worker.protocol import Begun, Computed, Failed, Late, Work
from classwire_server.engine.worker.wire import answer_bytes, answer_of, work_bytes, work_of
from classwire_server.tokenization import Encoding, Text

TRAITS = EngineTraits("cuda:0", Precision.BFLOAT16, Execution.COMPILED, Layout.PADDED)


def encoding(ids: list[int], types: list[int]) -> Encoding:
    """A text's encoding."""
    return Encoding(ids, types, 0, Text("any"))


TERMS = [
    ANY_TIME,
    Terms(urgent=True),
    Terms(yields=True, begin_by_s=12.25),
    Terms(settled=True, begin_by_s=-math.inf),
]


@pytest.mark.parametrize("terms", TERMS)
def test_a_batch_arrives_as_it_was_sent(terms: Terms) -> None:
    """Ids, types, bounds, order and terms are the same, in arrays that torch may write to."""
    texts = pack([encoding([7, 8, 2**40], [0, 0, 1]), encoding([5], [1]), encoding([], [])])

    received = work_of(work_bytes(Work(texts, terms)))

    assert received.terms == terms
    for name in ("ids", "token_type_ids", "bounds", "order"):
        sent, arrived = getattr(texts, name), getattr(received.texts, name)
        assert arrived.dtype == np.int64
        assert arrived.tolist() == sent.tolist(), name
        assert arrived.flags.writeable


@pytest.mark.parametrize("shape", [(1, 5), (3, 1), (2, 0)])
def test_logits_arrive_as_they_were_computed(shape: tuple[int, int]) -> None:
    """Logits keep every bit and their shape; traits and times are the same."""
    values = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    values.flat[:1] = np.nan

    received = answer_of(answer_bytes(Computed(values, TRAITS, 0.125, 77.5)))

    assert isinstance(received, Computed)
    assert received.values.dtype == np.float32
    assert (received.values.shape, received.values.tobytes()) == (shape, values.tobytes())
    assert (received.traits, received.inference_s, received.began_s) == (TRAITS, 0.125, 77.5)


def test_logits_of_another_layout_arrive_by_value() -> None:
    """Logits that do not lie row by row arrive with the same rows."""
    values = np.arange(6, dtype=np.float32).reshape(2, 3).T

    received = answer_of(answer_bytes(Computed(values, TRAITS, 0.0, 0.0)))

    assert isinstance(received, Computed)
    assert received.values.tolist() == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize("answer", [Begun(), Late(), Failed("RuntimeError"), Failed("")])
def test_other_messages(answer: Begun | Late | Failed) -> None:
    """A message without logits arrives as it was sent."""
    assert answer_of(answer_bytes(answer)) == answer


@pytest.mark.parametrize("raw", [b"", b"?", b"C", b"C1"])
def test_other_bytes_are_an_error(raw: bytes) -> None:
    """Bytes that are no message raise an error, upon which the server replaces the worker."""
    with pytest.raises((LookupError, ValueError, struct.error)):
        answer_of(raw)

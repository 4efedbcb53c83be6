"""Batches and their answers as bytes.

Each call waits for four of these conversions, on caches that the forward pass has emptied. There a
fixed layout takes half as long as pickle, which runs Python code for each class.
"""

import pickle
import struct
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from classwire_server.engine import EngineTraits, Terms
from classwire_server.engine.packing import PackedTexts

from .protocol import Begun, Computed, Failed, Late, Work

Answer = Begun | Computed | Late | Failed

_WORK = struct.Struct("<???xdII4x")
"""urgent, yields, settled, begin_by_s, texts, tokens; then the four arrays of the texts."""
_COMPUTED = struct.Struct("<cxHddII4x")
"""Kind, length of the traits, inference_s, began_s, texts, labels; then the traits and the logits.
"""
_BEGUN, _LATE, _FAILED, _LOGITS = b"B", b"L", b"F", b"C"
_WITHOUT_CONTENT: Mapping[bytes, Answer] = {_BEGUN: Begun(), _LATE: Late()}


def work_bytes(work: Work) -> bytes:
    """A batch as bytes."""
    texts, terms = work.texts, work.terms
    head = _WORK.pack(
        terms.urgent,
        terms.yields,
        terms.settled,
        terms.begin_by_s,
        len(texts.order),
        len(texts.ids),
    )
    arrays = (texts.ids, texts.token_type_ids, texts.bounds, texts.order)
    return b"".join((head, *(array.tobytes() for array in arrays)))


def work_of(raw: bytes) -> Work:
    """The batch of these bytes."""
    urgent, yields, settled, begin_by_s, texts, tokens = _WORK.unpack_from(raw)
    # A copy, since torch wants arrays that may be written.
    values = np.frombuffer(raw, np.int64, offset=_WORK.size).copy()
    bounds, order = 2 * tokens, 2 * tokens + texts + 1
    packed = PackedTexts(
        values[:tokens], values[tokens:bounds], values[bounds:order], values[order:]
    )
    return Work(packed, Terms(urgent, yields, begin_by_s, settled))


def answer_bytes(answer: Answer) -> bytes:
    """A message of the worker as bytes."""
    match answer:
        case Begun():
            return _BEGUN
        case Late():
            return _LATE
        case Failed(problem):
            return _FAILED + problem.encode()
        case Computed(values, traits, inference_s, began_s):
            named = _traits_bytes(traits)
            head = _COMPUTED.pack(_LOGITS, len(named), inference_s, began_s, *values.shape)
            return b"".join((head, named, values.astype(np.float32, copy=False).tobytes()))


def answer_of(raw: bytes) -> Answer:
    """The message of these bytes. Raises ValueError, LookupError or struct.error for others."""
    kind = raw[:1]
    if kind == _LOGITS:
        _, named, inference_s, began_s, texts, labels = _COMPUTED.unpack_from(raw)
        start = _COMPUTED.size + named
        values = np.frombuffer(raw[start:], np.float32).reshape(texts, labels)
        return Computed(values, _traits_of(raw[_COMPUTED.size : start]), inference_s, began_s)
    if kind == _FAILED:
        return Failed(raw[1:].decode())
    return _WITHOUT_CONTENT[kind]


@lru_cache(maxsize=8)
def _traits_bytes(traits: EngineTraits) -> bytes:
    return pickle.dumps(traits, protocol=5)


@lru_cache(maxsize=8)
def _traits_of(raw: bytes) -> EngineTraits:
    traits: EngineTraits = pickle.loads(raw)
    return traits

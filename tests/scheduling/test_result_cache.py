"""The cache: bounded, for one engine, without NaN or infinity."""

from dataclasses import replace

import numpy as np
import pytest

from classwire_server.engine import EngineTraits, Execution, Logits
from classwire_server.scheduling.batch import Answer, Key
from classwire_server.scheduling.result_cache import ENTRY_BYTES, ResultCache
from tests.scheduling.simulation import TRAITS

LABELS = 4
SIZE_BYTES = ENTRY_BYTES + 2 + 4 * LABELS


def key(number: int) -> Key:
    """A key of two bytes."""
    return bytes([number]), b"\0"


def answer_of(*rows: float, traits: EngineTraits = TRAITS) -> Answer:
    """An answer with one number in each row."""
    values = np.array([[row] * LABELS for row in rows], np.float32)
    return Answer(Logits(values, traits, 0.5, 7.0), 7.0, len(rows), 99)


def test_a_hit_has_its_row() -> None:
    """A hit has the row of its text, and no inference time."""
    cache, answer = ResultCache(10_000), answer_of(1.0, 2.0)
    cache.put(key(1), answer, 1)
    answer.logits.values[:] = 0
    hit = cache.get(key(1))
    assert hit is not None
    assert hit.logits.values.tolist() == [[2.0] * LABELS]
    assert (hit.logits.traits, hit.logits.inference_s, hit.batch_texts) == (TRAITS, 0.0, 0)
    assert cache.get(key(2)) is None


def test_the_least_recently_used_is_evicted() -> None:
    """The cache evicts the least recently used answers when it is full."""
    cache = ResultCache(3 * SIZE_BYTES)
    for number in (1, 2, 3):
        cache.put(key(number), answer_of(number), 0)
    assert cache.get(key(1))
    cache.put(key(4), answer_of(4.0), 0)
    assert [n for n in (1, 2, 3, 4) if cache.get(key(n))] == [1, 3, 4]
    cache.put(key(1), answer_of(1.0), 0)
    cache.put(key(5), answer_of(5.0), 0)
    assert [n for n in (1, 3, 4, 5) if cache.get(key(n))] == [1, 4, 5]
    for number in range(5, 100):
        cache.put(key(number), answer_of(number), 0)
    assert len(cache) == 3


def test_no_room_at_all() -> None:
    """A cache that is smaller than one answer stays empty."""
    cache = ResultCache(SIZE_BYTES - 1)
    cache.put(key(1), answer_of(1.0), 0)
    assert (len(cache), cache.get(key(1))) == (0, None)


def test_another_engine_evicts_all() -> None:
    """An answer of a compiled engine evicts those of the plain one."""
    cache = ResultCache(10 * SIZE_BYTES)
    for number in range(8):
        cache.put(key(number), answer_of(1.0), 0)
    compiled = replace(TRAITS, execution=Execution.COMPILED)
    for number in range(8, 18):
        cache.put(key(number), answer_of(1.0, traits=compiled), 0)
    assert [n for n in range(18) if cache.get(key(n))] == list(range(8, 18))


def test_devices_of_one_engine_share() -> None:
    """Answers of different devices of one engine stay together."""
    cache = ResultCache(10_000)
    cache.put(key(1), answer_of(1.0, traits=replace(TRAITS, device="cuda:0")), 0)
    cache.put(key(2), answer_of(1.0, traits=replace(TRAITS, device="cuda:1")), 0)
    assert cache.get(key(1))


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_not_cached(number: float) -> None:
    """A row with NaN or infinity is not cached; its neighbours are."""
    cache, answer = ResultCache(10_000), answer_of(1.0, 2.0)
    answer.logits.values[0, 3] = number
    cache.put(key(1), answer, 0)
    cache.put(key(2), answer, 1)
    assert cache.get(key(1)) is None
    assert cache.get(key(2))

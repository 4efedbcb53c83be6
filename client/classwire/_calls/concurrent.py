"""Unary calls for many inputs, several at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_CALLS = 4
"""Enough that the server has the next call when it answers one: one is computed, one waits there,
one is on its way, and one is being made. Each call is already a batch, so more would only wait.
"""


def mapped(function: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
    """Yield `function(item)` for each item, in order, while a few calls run ahead on threads.

    It reads `items` lazily, and raises the error of a call in that call's turn. After that, or when
    the generator is closed, it does not wait for the calls that still run.
    """
    running: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(_CALLS, "classwire-call")
    try:
        for item in items:
            running.append(pool.submit(function, item))
            if len(running) == _CALLS:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)

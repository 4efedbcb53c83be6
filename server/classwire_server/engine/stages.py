"""Log lines about the stages of loading a model, so that a long one is not silent."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

EVERY_S = 4.0
"""Time between two lines about a stage that lasts."""
LEAST_S = 0.1
"""A stage that took less is worth no line."""


@contextmanager
def stage(model: str, doing: str) -> Iterator[None]:
    """Log how long a stage of loading a model takes: every EVERY_S, and at its end."""
    began_s = time.monotonic()
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(EVERY_S):
            log.info("%s: %s, %.0f s so far", model, doing, time.monotonic() - began_s)

    watch = threading.Thread(target=run, name="stage", daemon=True)
    watch.start()
    try:
        yield
    finally:
        ended.set()
        watch.join()
    if (took_s := time.monotonic() - began_s) >= LEAST_S:
        log.info("%s: %s took %.1f s", model, doing, took_s)

"""Unary calls, one after the other, of several callers at the same time: an instrument."""

import itertools
import threading
import time
from collections.abc import Sequence

from benchmarks import checkpoints
from benchmarks.instrument import Failed, serve
from classwire import ClasswireError, Client

TEXTS_EACH = 64
END_TIMEOUT_S = 60.0


class BusyCallers:
    """Callers of one model, none of whom ever waits for another. For use by one thread."""

    def __init__(self) -> None:
        self._ends = threading.Event()
        self._threads: list[threading.Thread] = []
        self._answers: list[tuple[float, int]] = []  # when, tokens
        self._failure = ""

    def begin(self, target: str, model: str, callers: int, tokens: int) -> None:
        """Let so many callers send texts of so many tokens, and leave them."""
        client = Client(target, retry=False)
        client.wait_until_ready(END_TIMEOUT_S)
        words = checkpoints.words()
        texts = checkpoints.texts([tokens] * TEXTS_EACH * callers, words)
        for number in range(callers):
            own = texts[number * TEXTS_EACH : (number + 1) * TEXTS_EACH]
            thread = threading.Thread(target=self._call, args=(client, model, own), daemon=True)
            self._threads.append(thread)
            thread.start()

    def end(self) -> list[tuple[float, int]]:
        """End the callers. Returns when each answer came, by the monotonic clock, and its tokens.

        Raises Failed when a call has failed.
        """
        self._ends.set()
        for thread in self._threads:
            thread.join(END_TIMEOUT_S)
        if self._failure:
            raise Failed(self._failure)
        return self._answers

    def _call(self, client: Client, model: str, texts: Sequence[str]) -> None:
        for text in itertools.cycle(texts):
            if self._ends.is_set():
                return
            try:
                answer = client.classify(text, model=model)
            except ClasswireError as error:
                self._failure = f"a call failed: {error}"
                return
            self._answers.append((time.monotonic(), answer.token_count))


if __name__ == "__main__":
    callers = BusyCallers()
    serve({"begin": callers.begin, "end": callers.end})

"""Unary calls of several concurrent callers, one after the other: an instrument."""

import itertools
import threading
import time
from collections.abc import Sequence

from benchmarks import checkpoints
from benchmarks.instrument import MeasurementError, serve
from classwire import ClasswireError, Client

TEXTS_EACH = 64
END_TIMEOUT_S = 60.0


class BusyCallers:
    """Callers of one model, each in a loop of its own. For use by one thread."""

    def __init__(self) -> None:
        self._ends = threading.Event()
        self._threads: list[threading.Thread] = []
        self._answers: list[tuple[float, int]] = []  # time, tokens
        self._failure = ""

    def begin(self, target: str, model: str, callers: int, tokens: int) -> None:
        """Start `callers` callers, which send texts of `tokens` tokens until `end`."""
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
        """End the callers, and return the monotonic time and the tokens of each answer.

        Raises MeasurementError when a call has failed.
        """
        self._ends.set()
        for thread in self._threads:
            thread.join(END_TIMEOUT_S)
        if self._failure:
            raise MeasurementError(self._failure)
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

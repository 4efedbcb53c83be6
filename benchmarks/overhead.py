"""What metrics cost: two servers with the embedded checkpoint take turns, one without them.

    python -m benchmarks.overhead [--rounds 60] [--texts 800] [--in-flight 64]

The smallest model there is, short texts, and one text a call: nowhere do calls weigh more. The
metrics of the server that has them are read once a second all the time, fifteen times as often as
usual. What counts is the ratio within a round; every other round begins with the other server.
"""

import argparse
import http.client
import os
import threading
from contextlib import ExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from .figures import figure, ratio
from .instrument import Instrument
from .machine import machine
from .served import CLASSWIRE, Served

SERVER = (*CLASSWIRE, "--batch-tokens", "512")
"""What a server measures at start would differ from the other's."""
READ_EVERY_S = 1.0
TEXT_TOKENS = 16
SHAPES = ("unary", "stream, 32 items a message")
ON, OFF = "with metrics", "without"


class Reader:
    """Reads metrics as a Prometheus does, until the end of the block."""

    def __init__(self, address: str) -> None:
        self.reads = 0
        self._address = address
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(READ_EVERY_S):
            connection = http.client.HTTPConnection(self._address, timeout=10)
            connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
            connection.getresponse().read()
            connection.close()
            self.reads += 1


def measure(rounds: int, texts: int, in_flight: int) -> dict[str, dict[str, list[float]]]:
    """Texts per second by shape of load and server, in each round."""
    found: dict[str, dict[str, list[float]]] = {shape: {ON: [], OFF: []} for shape in SHAPES}
    with ExitStack() as ends:
        servers = {
            ON: ends.enter_context(Served(*SERVER, "--metrics-port", "0")),
            OFF: ends.enter_context(Served(*SERVER)),
        }
        load = ends.enter_context(Instrument("benchmarks.load", os.sched_getaffinity(0)))
        ends.enter_context(Reader(servers[ON].metrics))
        for turn in range(-1, rounds):  # the round before the first one warms up
            for shape in SHAPES:
                for which in (ON, OFF) if turn % 2 else (OFF, ON):
                    sample: dict[str, Any] = load.ask(
                        "run",
                        target=servers[which].target,
                        shape=shape,
                        lengths=[TEXT_TOKENS] * texts,
                        in_flight=in_flight,
                        words="embedded",
                    )
                    if turn >= 0:
                        found[shape][which].append(sample["texts"] / sample["seconds"])
    return found


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0], prog="python -m benchmarks.overhead"
    )
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--texts", type=int, default=800, help="of each sample")
    parser.add_argument("--in-flight", type=int, default=64, help="texts at a time, 32 at least")
    arguments = parser.parse_args()
    found = measure(arguments.rounds, arguments.texts, arguments.in_flight)
    at = machine()
    print(f"{datetime.now(UTC).date()}, {at['cores']} cores of {at['processor']}, ", end="")
    print(f"Python {at['python']}; {arguments.rounds} rounds\n")
    print(f"| load, {arguments.in_flight} texts in flight | texts/s {OFF} | {ON} | ratio |")
    print("|---|---|---|---|")
    for shape, rates in found.items():
        ratios = ratio(rates[ON], rates[OFF])
        print(f"| {shape} | {figure(rates[OFF])} | {figure(rates[ON])} | {ratios} |")


if __name__ == "__main__":
    main()

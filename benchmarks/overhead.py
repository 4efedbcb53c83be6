"""Cost of metrics, of the counts of labels in them, of traces or of a shadow: two servers with the
embedded checkpoint, one without them.

    python -m benchmarks.overhead [--of traces] [--rounds 60] [--texts 800] [--in-flight 64]

A small model, short texts and one text per call make the cost per call most visible. The server
traces one call of a hundred, as by default, and sends its spans to a collector. A reader scrapes
metrics every five seconds, three times as often as usual. The ratio within a round counts; servers
swap order every round. The script also prints the processor time of the server's process, which
other programs on the machine disturb less.
"""

import argparse
import http.client
import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple, Self

from classwire_server.config.server_config import EMBEDDED_FOLDER
from classwire_server.observability.metrics.workers import Usage

from .figures import figure, ratio
from .instrument import Instrument, end_on_sigterm
from .machine import in_words, machine
from .served import CLASSWIRE, COLLECTOR, Served

SERVER = (*CLASSWIRE, "--batch-tokens", "512")
"""Fixed settings: measurements at start would differ between the servers."""
UNCOUNTED = ("benchmarks.uncounted", *SERVER[1:])
TWO_MODELS = (f"--model=first={EMBEDDED_FOLDER}", f"--model=second={EMBEDDED_FOLDER}")
READ_EVERY_S = 5.0
TEXT_TOKENS = 16
SHAPES = ("unary", "stream, 32 items a message")
ON, OFF = "with them", "without"


class Reader:
    """Scrapes metrics as Prometheus does, until the block ends."""

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


class Taken(NamedTuple):
    """One sample."""

    texts_per_s: float
    cpu_s_per_text: float


def cpu_s(server: Served) -> float:
    """Return the processor time of a server's process so far, in seconds."""
    usage = Usage.of(server.pid)
    return usage.cpu_s if usage is not None else math.nan


def with_metrics(ends: ExitStack, command: Sequence[str] = SERVER) -> Served:
    """Start a server and scrape its metrics."""
    server = ends.enter_context(Served(*command, "--metrics-port", "0"))
    ends.enter_context(Reader(server.metrics))
    return server


def with_traces(ends: ExitStack) -> Served:
    """Start a server that sends traces to a collector."""
    collector = ends.enter_context(Served(*COLLECTOR))
    return ends.enter_context(Served(*SERVER, "--traces", f"http://{collector.target}"))


def plain(ends: ExitStack, *options: str) -> Served:
    """Start a server with these options."""
    return ends.enter_context(Served(*SERVER, *options))


Start = Callable[[ExitStack], Served]
COMPARED: Mapping[str, tuple[Start, Start]] = {
    "metrics": (with_metrics, plain),
    "labels": (with_metrics, partial(with_metrics, command=UNCOUNTED)),
    "traces": (with_traces, plain),
    "shadow": (
        lambda ends: plain(ends, *TWO_MODELS, "--shadow=first=second:0.1"),
        lambda ends: plain(ends, *TWO_MODELS),
    ),
}
"""How to start the server with what is measured, and the one without."""


def measure(of: str, rounds: int, texts: int, in_flight: int) -> dict[str, dict[str, list[Taken]]]:
    """Return the measurements of each round, by shape of load and server."""
    found: dict[str, dict[str, list[Taken]]] = {shape: {ON: [], OFF: []} for shape in SHAPES}
    with ExitStack() as ends:
        start_on, start_off = COMPARED[of]
        servers = {ON: start_on(ends), OFF: start_off(ends)}
        load = ends.enter_context(Instrument("benchmarks.load", os.sched_getaffinity(0)))
        for turn in range(-1, rounds):  # round -1 warms up
            for shape in SHAPES:
                for which in (ON, OFF) if turn % 2 else (OFF, ON):
                    before_s = cpu_s(servers[which])
                    sample: dict[str, Any] = load.ask(
                        "run",
                        target=servers[which].target,
                        shape=shape,
                        lengths=[TEXT_TOKENS] * texts,
                        in_flight=in_flight,
                        words="embedded",
                    )
                    if turn >= 0:
                        took_s = cpu_s(servers[which]) - before_s
                        texts_per_s = sample["texts"] / sample["seconds"]
                        found[shape][which].append(Taken(texts_per_s, took_s / sample["texts"]))
    return found


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0], prog="python -m benchmarks.overhead"
    )
    parser.add_argument("--of", choices=COMPARED, default="metrics")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--texts", type=int, default=800, help="texts in each sample")
    parser.add_argument("--in-flight", type=int, default=64, help="texts in flight, at least 32")
    arguments = parser.parse_args()
    end_on_sigterm()
    found = measure(arguments.of, arguments.rounds, arguments.texts, arguments.in_flight)
    at = machine()
    print(f"{datetime.now(UTC).date()}, {in_words(at)}, ", end="")
    print(f"Python {at['python']}; {arguments.of}, {arguments.rounds} rounds\n")
    print(f"| load, {arguments.in_flight} texts in flight | texts/s {OFF} | {ON} | ratio |")
    print("|---|---|---|---|")
    for shape, taken in found.items():
        on, off = ([each.texts_per_s for each in taken[which]] for which in (ON, OFF))
        print(f"| {shape} | {figure(off)} | {figure(on)} | {ratio(on, off)} |")
    print("\nProcessor time of the server's process, all rounds together:")
    for shape, taken in found.items():
        on_s, off_s = (sum(each.cpu_s_per_text for each in taken[which]) for which in (ON, OFF))
        each_us = 1e6 * off_s / arguments.rounds
        print(f"{shape}: {each_us:.0f} us per text {OFF}, {on_s / off_s:.3f} of that {ON}")


if __name__ == "__main__":
    main()

"""Time of the steps that hand a text to its worker and back, at once and after a pause.

    python -m benchmarks.hand_over

After a forward pass, a step runs on caches that something else has filled. Spinning through the
pause shows that sleep is not the reason, so that a busy wait would not help. Each step is compared
with pickle. The median of 200 repetitions counts.
"""

import argparse
import pickle
import statistics
import time
from collections.abc import Callable, Mapping

import numpy as np

from classwire_server.engine import ANY_TIME, EngineTraits, Execution, Layout, Precision
from classwire_server.engine.packing import pack
from classwire_server.engine.worker.protocol import Computed, Work
from classwire_server.engine.worker.wire import answer_bytes, answer_of, work_bytes, work_of

from .batching import encodings
from .figures import digits
from .markdown import table

PAUSE_S = 0.005
REPETITIONS = 200
TOKENS = 16
LABELS = 5


def steps() -> Mapping[str, Callable[[], object]]:
    """Return the steps of a text of TOKENS tokens."""
    texts = encodings([TOKENS])
    traits = EngineTraits("cpu", Precision.FLOAT32, Execution.PLAIN, Layout.PACKED)
    work = Work(pack(texts), ANY_TIME)
    answer = Computed(np.zeros((1, LABELS), np.float32), traits, 0.01, 1.0)
    sent, answered = work_bytes(work), answer_bytes(answer)
    pickled = pickle.dumps(work, protocol=5), pickle.dumps(answer, protocol=5)
    return {
        "pack the text": lambda: pack(texts),
        "batch to bytes": lambda: work_bytes(work),
        "bytes to batch": lambda: work_of(sent),
        "logits to bytes": lambda: answer_bytes(answer),
        "bytes to logits": lambda: answer_of(answered),
        "batch to bytes, by pickle": lambda: pickle.dumps(work, protocol=5),
        "bytes to batch, by pickle": lambda: pickle.loads(pickled[0]),
        "logits to bytes, by pickle": lambda: pickle.dumps(answer, protocol=5),
        "bytes to logits, by pickle": lambda: pickle.loads(pickled[1]),
    }


def spin(pause_s: float) -> None:
    """Keep this core busy for a time."""
    end_s = time.perf_counter() + pause_s
    while time.perf_counter() < end_s:
        pass


PAUSES: Mapping[str, Callable[[], None]] = {
    "at once": lambda: None,
    "after 5 ms of sleep": lambda: time.sleep(PAUSE_S),
    "after 5 ms of spinning": lambda: spin(PAUSE_S),
}


def median_us(step: Callable[[], object], pause: Callable[[], None]) -> float:
    """Return the microseconds of a step after a pause."""
    taken = []
    for _ in range(REPETITIONS):
        pause()
        started_s = time.perf_counter()
        step()
        taken.append(1e6 * (time.perf_counter() - started_s))
    return statistics.median(taken)


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    rows = (
        (name, *(digits(median_us(step, pause)) for pause in PAUSES.values()))
        for name, step in steps().items()
    )
    print(table((f"a text of {TOKENS} tokens, us", *PAUSES), rows))


if __name__ == "__main__":
    main()

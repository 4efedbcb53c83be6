"""Classwire's compiled engine and the engines of other projects, in turns on the same texts."""

import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.batching import encodings
from benchmarks.instrument import Instrument, MeasurementError
from benchmarks.plan import PRECISIONS, Plan
from benchmarks.progress import Say
from benchmarks.workload import mixed
from classwire_server.checkpoint.loading import ProblemType
from classwire_server.config.server_config import EMBEDDED_FOLDER
from classwire_server.engine import Deviation
from classwire_server.engine.selection.calibration import calibration_texts, measure_deviation
from classwire_server.scoring import Activation

from . import environment
from .exchange import Ids, read
from .figures import OTHERS, OURS, Result
from .model import Division

ALONE = Division(1, 1)
TWO_CORES = (Division(2, 1), Division(1, 2))
"""Ways to use two cores: two batches at the same time, or two threads for each batch."""
BATCH_TEXTS, BATCHES, SHORT_BATCHES = 8, 6, 3
"""The measured texts are batches of similar lengths, spread evenly over the sorted workload.

So batches sorted by 8 have as little padding as if they were taken from 400 waiting texts.
"""
FIRST = 0.4
"""Where in its share of the workload a batch begins, so that texts are as long as on average."""
CALIBRATION_TEXTS = 40
LONE_REPETITIONS = {16: 11, 64: 7}
"""Times that a lone text of so many tokens runs in a round. Their median counts."""
SAME_LOGITS = 1e-3
"""In float32, an engine whose logits differ by more does not compute the same function."""

OrMissing = Callable[[str], AbstractContextManager[None]]
"""The context of a measurement: it records a failure under this name, and continues."""


@dataclass(frozen=True)
class Comparison:
    """A checkpoint to measure with, a folder for converted models, and one or two cores."""

    plan: Plan
    checkpoint: Path
    work: Path
    cores: Sequence[int]
    say: Say

    @property
    def lengths(self) -> list[int]:
        """The lengths of the measured texts, in tokens."""
        return spread(mixed().lengths, SHORT_BATCHES if self.plan.is_short else BATCHES)

    def measure(self, or_missing: OrMissing) -> Result:
        """Return times and deviations by precision and engine.

        Raises MeasurementError if the other engines cannot be installed.
        """
        python = environment.set_up(self.say)
        trained = self.work / "peers" / EMBEDDED_FOLDER.name
        timed = self.work / "peers" / self.checkpoint.name
        self.say("peers: exporting")
        with Instrument("benchmarks.peers.transformers_reference", self.cores) as reference:
            for checkpoint, into, (texts, calibration) in (
                (EMBEDDED_FOLDER, trained, trained_texts()),
                (self.checkpoint, timed, self._random_texts()),
            ):
                about = {"texts": texts, "calibration": calibration}
                reference.ask("write", folder=str(checkpoint), into=str(into), **about)
        with (
            Instrument("benchmarks.peers.ours", self.cores) as ours,
            Instrument("benchmarks.peers.others", self.cores, {}, python) as others,
        ):
            programs = {OURS: ours, **dict.fromkeys(OTHERS, others)}
            result: Result = {
                "checkpoint": self.plan.shape.name,
                "texts": len(self.lengths),
                "tokens": sum(self.lengths),
                "versions": ours.ask("versions") | others.ask("versions"),
                "left_out": [],
                "precisions": {},
            }
            for precision in PRECISIONS:
                turns = _Turns(self, precision, programs, or_missing)
                result["left_out"] += turns.prepare(trained, timed)
                result["precisions"][precision] = turns.measure()
        return result

    def _random_texts(self) -> tuple[list[Ids], list[Ids]]:
        timed = self.lengths
        ids: list[Ids] = [
            text.ids for text in encodings([*timed, *mixed().first(CALIBRATION_TEXTS).lengths])
        ]
        return ids[: len(timed)], ids[len(timed) :]


class _Turns:
    """The engines that have a precision, and their measurements in turns."""

    def __init__(
        self,
        of: Comparison,
        precision: str,
        programs: dict[str, Instrument],
        or_missing: OrMissing,
    ) -> None:
        self._of = of
        self._precision = precision
        self._programs = programs
        self._or_missing = or_missing
        self._records: dict[str, Result] = {}

    def prepare(self, trained: Path, timed: Path) -> list[str]:
        """Load the engines and choose how each runs; return what none of them has.

        Measures their deviation from transformers on both exchanges first.
        """
        left_out = []
        divisions = [ALONE, *(TWO_CORES if len(self._of.cores) > 1 else ())]
        for name, instrument in self._programs.items():
            self._of.say(f"peers: preparing {name}, {self._precision}")
            with self._or_missing(f"{name}, {self._precision}"):
                record: Result = {"deviation": {}}
                for exchange, wanted in ((trained, divisions[:1]), (timed, divisions)):
                    how = {"folder": str(exchange), "precision": self._precision}
                    pairs = [_pair(each) for each in wanted]
                    ways = instrument.ask("load", engine=name, divisions=pairs, **how)
                    if not ways:
                        left_out.append(f"{name} in {self._precision}")
                        break
                    logits = instrument.ask("logits", engine=name, division=_pair(ALONE))
                    record["deviation"][exchange.name] = self._deviation(exchange, logits)
                else:
                    record["cores"] = self._best(name, ways)
                    record["lone_s"] = {}
                    self._records[name] = record
        return left_out

    def measure(self) -> dict[str, Result]:
        """Return the records of the engines that took every turn."""
        rounds = self._of.plan.rounds
        for turn in range(rounds):
            for name in list(self._records):
                self._of.say(f"peers: round {turn + 1} of {rounds}: {name}, {self._precision}")
                record = self._records.pop(name)
                with self._or_missing(f"{name}, {self._precision}"):
                    self._take_turn(name, record)
                    self._records[name] = record
        for instrument in self._programs.values():
            instrument.ask("unload")
        return self._records

    def _take_turn(self, name: str, record: Result) -> None:
        for of in record["cores"].values():
            of["seconds"].append(self._seconds(name, of["division"], of["way"]))
        for tokens, repetitions in LONE_REPETITIONS.items():
            for threads in range(1, len(self._of.cores) + 1):
                times = self._programs[name].ask(
                    "lone",
                    engine=name,
                    division=(1, threads),
                    tokens=tokens,
                    repetitions=repetitions,
                )
                rounds = record["lone_s"].setdefault(str(tokens), {}).setdefault(str(threads), [])
                rounds.append(statistics.median(times))

    def _best(self, name: str, ways: Sequence[str]) -> Result:
        """The fastest way to cut batches on one core, and with it the fastest use of two."""
        way = min(ways, key=lambda each: self._seconds(name, _pair(ALONE), each))
        best = {"1": ALONE}
        if len(self._of.cores) > 1:
            best["2"] = min(TWO_CORES, key=lambda each: self._seconds(name, _pair(each), way))
        return {
            cores: {"division": _pair(division), "way": way, "seconds": []}
            for cores, division in best.items()
        }

    def _seconds(self, name: str, division: tuple[int, int], way: str) -> float:
        seconds: float = self._programs[name].ask("run", engine=name, division=division, way=way)
        return seconds

    def _deviation(self, exchange: Path, logits: list[list[float]]) -> Result:
        expected, actual = np.array(read(exchange).logits), np.array(logits)
        difference = float(np.abs(actual - expected).max())
        if self._precision == "float32" and not difference <= SAME_LOGITS:
            raise MeasurementError(
                f"it computes another function: its logits differ by {difference:.1e}"
            )
        deviation: Deviation = measure_deviation(
            expected, actual, Activation.SOFTMAX, ProblemType.SINGLE_LABEL
        )
        return {"max_logit_difference": difference, **asdict(deviation)}


def spread(lengths: Sequence[int], batches: int) -> list[int]:
    """Return the lengths of so many batches of similar lengths, in the order of `lengths`."""
    places = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    step = len(lengths) / batches
    starts = (
        int((number + FIRST) * step) // BATCH_TEXTS * BATCH_TEXTS for number in range(batches)
    )
    chosen = sorted(place for start in starts for place in places[start : start + BATCH_TEXTS])
    return [lengths[place] for place in chosen]


def trained_texts() -> tuple[list[Ids], list[Ids]]:
    """Return texts for the embedded checkpoint: half of the server's calibration texts each."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(EMBEDDED_FOLDER / "tokenizer.json"))
    tokenizer.enable_truncation(512)
    single = [text.text for text in calibration_texts() if text.text_pair is None]
    ids: list[Ids] = [encoding.ids for encoding in tokenizer.encode_batch(single)]
    return ids[::2], ids[1::2]


def _pair(division: Division) -> tuple[int, int]:
    return division.lanes, division.threads

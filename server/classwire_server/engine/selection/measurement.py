"""What a start measures of an engine: enough to build the same engine again without measuring."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from classwire_server.engine import Deviation, Execution, Precision
from classwire_server.engine.latency_profile import LatencyProfile
from classwire_server.engine.packing import PackedTexts


@dataclass(frozen=True)
class Sample:
    """A few short texts, packed as in PackedTexts, and the engine's logits of them."""

    ids: tuple[int, ...]
    token_type_ids: tuple[int, ...]
    bounds: tuple[int, ...]
    logits: tuple[tuple[float, ...], ...]

    @staticmethod
    def of(texts: PackedTexts, logits: np.ndarray) -> "Sample":
        """The sample of packed texts; `logits` are float32, (texts, labels)."""
        rows = tuple(map(tuple, logits.tolist()))
        ids, types, bounds = texts.ids, texts.token_type_ids, texts.bounds
        return Sample(tuple(ids.tolist()), tuple(types.tolist()), tuple(bounds.tolist()), rows)

    @property
    def texts(self) -> PackedTexts:
        """The packed texts."""
        ids, types, bounds = map(np.array, (self.ids, self.token_type_ids, self.bounds))
        return PackedTexts(ids, types, bounds, np.arange(len(bounds) - 1))


@dataclass(frozen=True)
class Measurement:
    """The chosen engine of a checkpoint, and the figures behind the choice.

    `fingerprint`, `max_tokens` and `takes_pairs` are those of the checkpoint. `layout` is the name
    of a Build's layout. `deviation` and `sample` are those of the engine that serves, also if it is
    compiled. `peak_memory_bytes` is the peak of the process that measured.
    """

    fingerprint: str
    max_tokens: int
    takes_pairs: bool
    layout: str
    precision: Precision
    execution: Execution
    has_reordered_weights: bool
    deviation: Deviation
    profile: LatencyProfile
    sample: Sample
    peak_memory_bytes: int

    def as_json(self) -> dict[str, Any]:
        """The measurement in terms of JSON."""
        names = {"precision": self.precision.value, "execution": self.execution.value}
        return asdict(self) | names

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> "Measurement":
        """The measurement that `as_json` made. Raises KeyError, TypeError or ValueError."""
        profile, sample = found["profile"], found["sample"]
        return Measurement(
            **{
                **found,
                "precision": Precision(found["precision"]),
                "execution": Execution(found["execution"]),
                "deviation": Deviation(**found["deviation"]),
                "profile": LatencyProfile(
                    tuple(profile["tokens"]), tuple(profile["seconds"]), profile["is_shared"]
                ),
                "sample": Sample(
                    tuple(sample["ids"]),
                    tuple(sample["token_type_ids"]),
                    tuple(sample["bounds"]),
                    tuple(map(tuple, sample["logits"])),
                ),
            }
        )


def peak_memory_bytes() -> int:
    """The peak memory of this process so far; 0 if the system does not report it."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    fields = dict(line.split(":", 1) for line in status.splitlines())
    size, *_ = fields.get("VmHWM", fields.get("VmRSS", "0")).split()
    return int(size) * 1_024

"""What the other engines get, in one folder: a checkpoint as ONNX and a JSON file.

An instrument of this checkout's environment writes it. The JSON file has the texts as token ids,
texts for calibration, and the logits that transformers computes in float32. This module and those
that run in `.peers/` import nothing of Classwire.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

Ids = Sequence[int]
"""A text as token ids, special tokens included."""

FILE = "exchange.json"


@dataclass(frozen=True)
class Exchange:
    """A checkpoint's folder, its ONNX file, and texts. `logits` has a row for each text."""

    checkpoint: str
    onnx: str
    texts: Sequence[Ids]
    calibration: Sequence[Ids]
    logits: Sequence[Sequence[float]]

    def write(self, folder: Path) -> None:
        """Write the JSON file."""
        (folder / FILE).write_text(json.dumps(asdict(self)), encoding="utf-8")


def read(folder: Path) -> Exchange:
    """Read the JSON file."""
    return Exchange(**json.loads((folder / FILE).read_text(encoding="utf-8")))

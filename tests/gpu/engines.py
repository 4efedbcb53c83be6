"""Engines on the CUDA device, built as a worker builds them, and batches for them."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from classwire_server.checkpoint.loading import load_checkpoint
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Precision
from classwire_server.engine.forward.grouped import GroupedEngine
from classwire_server.engine.forward.packed import PackedEngine, PackedModel
from classwire_server.engine.forward.precision import convert
from classwire_server.engine.packing import PackedTexts, pack
from classwire_server.engine.selection.choice import Selection, select
from classwire_server.tokenization import Encoding, Text

DEVICE = "cuda:0"


def selected(folder: Path, precision: str, **settings: Any) -> Selection:
    """The engine that a worker would choose in this precision."""
    config = ServerConfig(model=(f"m={folder}",), device=DEVICE, precision=precision, **settings)
    return select(config.sources[0], config, DEVICE)


def packed(folder: Path, precision: Precision) -> PackedEngine:
    """A packed engine without graphs."""
    model, input_names = _model(folder, precision)
    return PackedEngine(PackedModel(model, input_names), DEVICE, precision)


def grouped(folder: Path, precision: Precision) -> GroupedEngine:
    """An engine that groups texts by length."""
    model, input_names = _model(folder, precision)
    return GroupedEngine(model, input_names, DEVICE, precision)


def _model(folder: Path, precision: Precision) -> tuple[Any, Any]:
    config = ServerConfig(model=(f"m={folder}",))
    checkpoint, model, _ = load_checkpoint(config.sources[0], config)
    model = model.to(DEVICE)  # type: ignore[arg-type]
    if precision is not Precision.FLOAT32:
        convert(model, precision)
    return model, checkpoint.input_names


def encoding(dice: random.Random, tokens: int) -> Encoding:
    """A text of random ids."""
    return Encoding(dice.choices(range(5, 60), k=tokens), [0] * tokens, 0, Text(""))


def random_batch(dice: random.Random, lengths: Sequence[int]) -> PackedTexts:
    """Texts of these lengths in tokens, with random ids."""
    return pack([encoding(dice, n) for n in lengths])

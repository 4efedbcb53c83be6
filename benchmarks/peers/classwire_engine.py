"""Classwire's compiled engine, with batches as the server makes them."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from benchmarks.batching import batches
from benchmarks.engines import PackedEngines
from classwire import __version__
from classwire_server.engine import Precision
from classwire_server.engine.forward.runner import Runner
from classwire_server.engine.packing import pack
from classwire_server.engine.selection.processor import this_processor
from classwire_server.tokenization import Encoding, Text

from .exchange import Exchange, Ids
from .model import Division, Model

CACHE = "compiled"
"""The folder of compiled models, next to the folder that holds the exchanges."""


def version() -> str:
    """Return the versions in words."""
    return f"{__version__}, torch {torch.__version__}"


def has(precision: str) -> bool:
    """Whether the precision is worth measuring: bfloat16 without instructions is slower."""
    wanted = Precision(precision)
    return wanted is not Precision.BFLOAT16 or this_processor().is_fast_in(wanted)


def convert(exchange: Exchange, folder: Path, precision: str) -> None:
    """Compile the model, unless the cache has it. Raises CompileError."""
    _compiled(exchange.checkpoint, precision, folder)


def load(exchange: Exchange, folder: Path, precision: str, division: Division) -> Model:
    """Return the model. It packs a batch, up to the number of tokens that the server chose."""
    runner, batch_tokens = _compiled(exchange.checkpoint, precision, folder)

    def packed(texts: Sequence[Ids]) -> Iterator[Sequence[Ids]]:
        for batch in batches([_encoding(ids) for ids in texts], batch_tokens):
            yield [encoding.ids for encoding in batch]

    def run(batch: Sequence[Ids]) -> np.ndarray:
        torch.set_num_threads(division.threads)
        texts = pack([_encoding(ids) for ids in batch])
        return texts.unsorted(runner.run(texts))

    return Model(run, {f"packed by {batch_tokens} tokens": packed})


@lru_cache(maxsize=1)
def _compiled(checkpoint: str, precision: str, folder: Path) -> tuple[Runner, int]:
    """The engine, and the number of tokens of its batches."""
    engines = PackedEngines(checkpoint, precision, str(folder.parents[1] / CACHE), threads=1)
    runner, _ = engines.compiled()
    return runner, engines.batch_tokens


def _encoding(ids: Ids) -> Encoding:
    return Encoding(list(ids), [0] * len(ids), 0, Text(""))

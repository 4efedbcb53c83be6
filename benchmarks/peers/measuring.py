"""The functions of the instruments that run engines: load, run, time, score."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np

from benchmarks.instrument import seconds_of, serve

from .exchange import Exchange, Ids, read
from .model import Division, Model

ORDINARY_IDS = (5, 6_000)
"""Token ids that all checkpoints of the benchmark have."""


class Engine(Protocol):
    """A module that runs one engine."""

    def version(self) -> str:
        """Return the version in words."""
        ...

    def has(self, precision: str) -> bool:
        """Whether the engine computes in the precision on this processor."""
        ...

    def convert(self, exchange: Exchange, folder: Path, precision: str) -> None:
        """Write what `load` needs into the exchange's folder, unless it is there."""
        ...

    def load(self, exchange: Exchange, folder: Path, precision: str, division: Division) -> Model:
        """Return the model."""
        ...


class Measuring:
    """Engines, and their models of one exchange in one precision. For use by one thread."""

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        self._engines = engines
        self._models: dict[tuple[str, Division], Model] = {}
        self._texts: dict[str, Sequence[Ids]] = {}
        self._lanes: dict[int, ThreadPoolExecutor] = {}

    def versions(self) -> dict[str, str]:
        """Return the version of each engine."""
        return {name: engine.version() for name, engine in self._engines.items()}

    def load(
        self, engine: str, folder: str, precision: str, divisions: list[tuple[int, int]]
    ) -> list[str]:
        """Load an engine's models, and return the names of its ways to cut batches.

        The list is empty if the engine does not have the precision on this processor.
        """
        module, place = self._engines[engine], Path(folder)
        if not module.has(precision):
            return []
        exchange = read(place)
        self._texts[engine] = exchange.texts
        module.convert(exchange, place, precision)
        for division in map(_division, divisions):
            model = module.load(exchange, place, precision, division)
            model.run(exchange.texts[:1])
            self._models[engine, division] = model
        return list(model.ways)

    def unload(self) -> None:
        """Free all models."""
        self._models.clear()

    def run(self, engine: str, division: tuple[int, int], way: str) -> float:
        """Return the seconds that all texts of the exchange take, in batches cut this way."""
        of = _division(division)
        model, texts = self._models[engine, of], self._texts[engine]
        # The same threads every time, because engines keep memory for each.
        lanes = self._lanes.setdefault(of.lanes, ThreadPoolExecutor(of.lanes))
        return seconds_of(lambda: list(lanes.map(model.run, model.ways[way](texts))))

    def lone(
        self, engine: str, division: tuple[int, int], tokens: int, repetitions: int
    ) -> list[float]:
        """Return the seconds of single texts of `tokens` tokens."""
        model = self._models[engine, _division(division)]
        text = [np.random.default_rng(tokens).integers(*ORDINARY_IDS, size=tokens).tolist()]
        return [seconds_of(lambda: model.run(text)) for _ in range(repetitions)]

    def logits(self, engine: str, division: tuple[int, int]) -> list[list[float]]:
        """Return the logits of all texts of the exchange, in batches of one."""
        model = self._models[engine, _division(division)]
        return [model.run([text])[0].tolist() for text in self._texts[engine]]

    def serve(self) -> None:
        """Answer the parent's calls until it ends."""
        functions = (self.versions, self.load, self.unload, self.run, self.lone, self.logits)
        serve({function.__name__: function for function in functions})


def _division(lanes_and_threads: tuple[int, int]) -> Division:
    return Division(*lanes_and_threads)

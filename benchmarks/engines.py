"""An instrument that runs engines alone, without a server, in one process.

The reference is `transformers` as most servers use it: batches of 32, padded to the longest text,
in order of arrival or sorted by length. The other engines run the server's batches.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import BertForSequenceClassification

from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Deviation
from classwire_server.engine.forward.runner import OneByOne, Runner
from classwire_server.engine.packing import pack
from classwire_server.engine.selection.changeover import compiled
from classwire_server.engine.selection.choice import select
from classwire_server.errors import CompileError
from classwire_server.tokenization import Encoding

from . import ceiling
from .batching import batches, encodings, in_batches, padded
from .instrument import seconds_of, serve
from .interference import busy_threads

PADDED_BATCH = 32
ONNX_BATCH = 8

Run = Callable[[Sequence[Encoding]], object]
"""Classifies texts in batches that it makes itself."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A loaded engine and its description."""

    run: Run
    about: dict[str, Any]


class Engines:
    """The loaded engines. For use by one thread."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self._engines: dict[str, Prepared] = {}
        self._plain: BertForSequenceClassification | None = None
        self._packed: dict[tuple[str, str], PackedEngines] = {}

    def prepare(self, engine: str, folder: str, cache: str, threads: int = 1) -> dict[str, Any]:
        """Load an engine by its name in `plan`, and return its description.

        Only Classwire's engines use more than one thread.
        """
        if engine in _PADDED:
            if self._plain is None:
                self._plain = BertForSequenceClassification.from_pretrained(folder).eval()
            prepared = Prepared(_PADDED[engine](self._plain), {})
        elif engine.startswith("onnx"):
            from . import onnx_reference

            size = ONNX_BATCH if engine.endswith(f"by {ONNX_BATCH}") else 1
            prepared = Prepared(onnx_reference.prepare(Path(folder), Path(cache), size), {})
        else:
            precision, _, execution = engine.removeprefix("packed ").partition(", ")
            if (folder, precision) not in self._packed:
                self._packed[folder, precision] = PackedEngines(folder, precision, cache, threads)
            prepared = self._packed[folder, precision].prepare(execution)
        self._engines[engine] = prepared
        return prepared.about

    def run(self, engine: str, lengths: Sequence[int]) -> float:
        """Return the seconds that an engine takes for texts of these lengths."""
        texts = encodings(lengths)
        return seconds_of(lambda: self._engines[engine].run(texts))

    def with_busy_threads(
        self, engine: str, tokens: int, busy: int, repetitions: int
    ) -> list[float]:
        """Return seconds of single forward passes next to `busy` Python threads in the process."""
        text = encodings([tokens])
        with busy_threads(busy):
            return [seconds_of(lambda: self._engines[engine].run(text)) for _ in range(repetitions)]

    def at_once(self, engine: str, tokens: int, lanes: int, repetitions: int) -> list[float]:
        """Return seconds until `lanes` threads have each computed a text of `tokens` tokens."""
        text = encodings([tokens])
        run = self._engines[engine].run
        with ThreadPoolExecutor(lanes) as threads:

            def all_lanes() -> None:
                for done in [threads.submit(run, text) for _ in range(lanes)]:
                    done.result()

            return [seconds_of(all_lanes) for _ in range(repetitions)]


def _transformers(size: int, by_length: bool) -> Callable[[BertForSequenceClassification], Run]:
    def engine(model: BertForSequenceClassification) -> Run:
        @torch.inference_mode()
        def run(texts: Sequence[Encoding]) -> None:
            if by_length:
                texts = sorted(texts, key=lambda text: len(text.ids))
            for batch in in_batches(texts, size):
                ids, mask = padded(batch)
                model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))

        return run

    return engine


_PADDED = {
    "transformers, padded": _transformers(PADDED_BATCH, by_length=False),
    "transformers, sorted": _transformers(PADDED_BATCH, by_length=True),
    "transformers, one by one": _transformers(1, by_length=False),
}


class PackedEngines:
    """The server's engine in one precision, plain and compiled, selected as a worker does."""

    def __init__(self, folder: str, precision: str, cache: str, threads: int) -> None:
        self._source = ModelSource("measured", folder)
        self._config = ServerConfig(
            device="cpu", precision=precision, compile_cache=cache, lanes=1, threads=threads
        )
        self._selection = select(self._source, self._config, "cpu")
        self.batch_tokens = self._selection.batch_tokens

    def compiled(self) -> tuple[Runner, Deviation]:
        """Return the compiled engine, and how far its scores are from plain float32's.

        Raises CompileError if there is none.
        """
        changed = compiled(self._selection, self._source, self._config)
        if changed is None:
            raise CompileError("cannot compile here, or compiled scores deviate")
        return changed

    def prepare(self, execution: str) -> Prepared:
        """Return the engine: plain, compiled or deterministic.

        Raises CompileError if there is no compiled engine.
        """
        runner: Runner = self._selection.engine
        deviation = self._selection.deviation
        if execution == "deterministic":
            runner = OneByOne(runner)
        elif execution == "compiled":
            runner, deviation = self.compiled()

        def run(texts: Sequence[Encoding]) -> None:
            for batch in batches(texts, self.batch_tokens):
                runner.run(pack(batch))

        about = {
            "batch_tokens": self.batch_tokens,
            "precision": runner.traits.precision.value,
            "execution": runner.traits.execution.value,
            "layout": runner.traits.layout.value,
            "max_score_difference": deviation.max_score_difference,
        }
        return Prepared(run, about)


if __name__ == "__main__":
    engines = Engines()
    serve(
        {
            "prepare": engines.prepare,
            "run": engines.run,
            "with_busy_threads": engines.with_busy_threads,
            "at_once": engines.at_once,
            "ceiling": ceiling.measure,
        }
    )

"""Engines alone, without a server, in one process: an instrument.

The reference is `transformers` as most servers use it: padded to the longest text of a batch of 32,
in the order of arrival or sorted by length. The others run the batches that the server would make.
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
from classwire_server.engine.compilation.changeover import compiled
from classwire_server.engine.forward.runner import OneByOne, Runner
from classwire_server.engine.packing import pack
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
"""Computes texts, in batches of its own making."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """An engine that is loaded, with what is known of it."""

    run: Run
    about: dict[str, Any]


class Engines:
    """The engines of one checkpoint's folder. For use by one thread."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self._engines: dict[str, Prepared] = {}
        self._plain: BertForSequenceClassification | None = None
        self._ours: dict[tuple[str, str], _Ours] = {}

    def prepare(self, engine: str, folder: str, cache: str, threads: int = 1) -> dict[str, Any]:
        """Load an engine, by its name in `plan`; returns what it says of itself.

        Only our own engines take more threads than one.
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
            if (folder, precision) not in self._ours:
                self._ours[folder, precision] = _Ours(folder, precision, cache, threads)
            prepared = self._ours[folder, precision].prepare(execution)
        self._engines[engine] = prepared
        return prepared.about

    def run(self, engine: str, lengths: Sequence[int]) -> float:
        """How long an engine takes for texts of these lengths, in seconds."""
        texts = encodings(lengths)
        return seconds_of(lambda: self._engines[engine].run(texts))

    def beside_threads(self, engine: str, tokens: int, busy: int, repetitions: int) -> list[float]:
        """Seconds of single forward passes, in a process with so many busy Python threads."""
        text = encodings([tokens])
        with busy_threads(busy):
            return [seconds_of(lambda: self._engines[engine].run(text)) for _ in range(repetitions)]

    def at_once(self, engine: str, tokens: int, lanes: int, repetitions: int) -> list[float]:
        """Seconds until so many threads have each computed a text of so many tokens."""
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


class _Ours:
    """The server's engine in one precision, plain and compiled, as a worker would choose it."""

    def __init__(self, folder: str, precision: str, cache: str, threads: int) -> None:
        self._source = ModelSource("measured", folder)
        self._config = ServerConfig(
            device="cpu", precision=precision, compile_cache=cache, lanes=1, threads=threads
        )
        self._selection = select(self._source, self._config, "cpu")

    def prepare(self, execution: str) -> Prepared:
        """The engine plain, compiled or deterministic.

        Raises CompileError where there is no compiled engine.
        """
        selection = self._selection
        runner: Runner = selection.engine
        deviation = selection.deviation
        if execution == "deterministic":
            runner = OneByOne(runner)
        elif execution == "compiled":
            changed = compiled(selection, self._source, self._config)
            if changed is None:
                raise CompileError("it cannot be compiled here, or its scores would move")
            runner, deviation = changed

        def run(texts: Sequence[Encoding]) -> None:
            for batch in batches(texts, selection.batch_tokens):
                runner.run(pack(batch))

        about = {
            "batch_tokens": selection.batch_tokens,
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
            "beside_threads": engines.beside_threads,
            "at_once": engines.at_once,
            "ceiling": ceiling.measure,
        }
    )

"""Engines alone, without a server, in one process: an instrument.

The reference is `transformers` as most servers use it: padded to the longest text of a batch of 32,
in the order of arrival or sorted by length. The others run the batches that the server would make.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BertForSequenceClassification

from classwire_server.config import ModelSource, ServerConfig
from classwire_server.engine.packing import pack
from classwire_server.engine.selection import Runner, select
from classwire_server.tokenization import Encoding, Text

from . import ceiling
from .instrument import seconds_of, serve

PADDED_BATCH = 32
ONNX_BATCH = 8
BUSY_THREADS = 4
FIRST_ORDINARY_ID = 5

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

    def prepare(self, engine: str, folder: str, cache: str) -> dict[str, Any]:
        """Load an engine, by its name in ENGINES; returns what it says of itself."""
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
            prepared = _ours(folder, precision, execution == "compiled", cache)
        self._engines[engine] = prepared
        return prepared.about

    def run(self, engine: str, lengths: Sequence[int]) -> float:
        """How long an engine takes for texts of these lengths, in seconds."""
        texts = encodings(lengths)
        return seconds_of(lambda: self._engines[engine].run(texts))

    def beside_threads(self, engine: str, tokens: int, busy: int, repetitions: int) -> list[float]:
        """Seconds of single forward passes, in a process with so many busy Python threads."""
        text = encodings([tokens])
        stop = threading.Event()
        threads = [threading.Thread(target=spin, args=(stop,)) for _ in range(busy)]
        for thread in threads:
            thread.start()
        try:
            return [
                seconds_of(lambda: self._engines[engine].run(text)) for _ in range(repetitions)
            ]
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def spin(stop: threading.Event) -> None:
    """Compute in Python until told to stop."""
    while not stop.is_set():
        sum(range(1_000))


def encodings(lengths: Sequence[int], vocabulary: int = 6_000) -> list[Encoding]:
    """Random texts of these lengths; ids are below `vocabulary`, which every checkpoint has."""
    generator = np.random.default_rng(1)
    return [
        Encoding(
            generator.integers(FIRST_ORDINARY_ID, vocabulary, size=n).tolist(), [0] * n, 0, Text("")
        )
        for n in lengths
    ]


def batches(texts: Sequence[Encoding], most_tokens: int) -> Iterator[list[Encoding]]:
    """Cut texts, in order, into batches as the server's queue does: one text always fits."""
    batch: list[Encoding] = []
    tokens = 0
    for text in texts:
        if batch and tokens + len(text.ids) > most_tokens:
            yield batch
            batch, tokens = [], 0
        batch.append(text)
        tokens += len(text.ids)
    if batch:
        yield batch


def padded(texts: Sequence[Encoding]) -> tuple[np.ndarray, np.ndarray]:
    """Ids and attention mask, (texts, longest), of a batch."""
    longest = max(len(text.ids) for text in texts)
    ids = np.zeros((len(texts), longest), np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text.ids)] = text.ids
        mask[row, : len(text.ids)] = 1
    return ids, mask


def in_batches(texts: Sequence[Encoding], size: int) -> Iterator[Sequence[Encoding]]:
    """Cut texts, in order, into batches of so many texts."""
    return (texts[start : start + size] for start in range(0, len(texts), size))


def _transformers(
    size: int, by_length: bool
) -> Callable[[BertForSequenceClassification], Run]:
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


def _ours(folder: str, precision: str, compiled: bool, cache: str) -> Prepared:
    config = ServerConfig(
        model=(f"measured={folder}",),
        device="cpu",
        precision=precision,
        compile=compiled,
        compile_cache=cache,
        lanes=1,
        threads=1,
    )
    selection = select(ModelSource("measured", folder), config, "cpu")
    runner: Runner = selection.runner

    def run(texts: Sequence[Encoding]) -> None:
        for batch in batches(texts, selection.batch_tokens):
            runner.run(pack(batch))

    about = {
        "batch_tokens": selection.batch_tokens,
        "precision": runner.traits.precision.value,
        "execution": runner.traits.execution.value,
        "layout": runner.traits.layout.value,
        "max_score_difference": selection.deviation.max_score_difference,
    }
    return Prepared(run, about)


if __name__ == "__main__":
    engines = Engines()
    serve(
        {
            "prepare": engines.prepare,
            "run": engines.run,
            "beside_threads": engines.beside_threads,
            "ceiling": ceiling.measure,
        }
    )

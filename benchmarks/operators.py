"""What compiled passes gain from operators in C++, one at a time and on two lanes.

    python -m benchmarks.operators [--work FOLDER] [--layers 12] [--rounds 5]

The same compiled BERT-base with random weights calls Classwire's operators in C++ and in Python, in
turns, in one process. Each lane has one thread.
"""

import argparse
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch

from classwire_server.checkpoint.loading import load_checkpoint
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Precision
from classwire_server.engine.compilation.export import NAMESPACE, OPERATORS, CompiledModel
from classwire_server.engine.compilation.process import compile_elsewhere
from classwire_server.engine.forward.packed import PackedEngine, PackedModel
from classwire_server.engine.forward.precision import convert
from classwire_server.engine.packing import PackedTexts, pack

from .batching import encodings
from .checkpoints import BERT_BASE, save
from .instrument import end_on_sigterm
from .machine import has_bfloat16
from .markdown import table
from .progress import progress

LANES = 2
PASSES_S, FEWEST = 1.0, 3
"""How long a sample runs passes, and at least how many."""
LENGTHS: Mapping[str, tuple[int, ...]] = {
    "a text of 16 tokens": (16,),
    "a text of 64 tokens": (64,),
    "8 texts, 256 tokens": (9, 14, 17, 25, 31, 40, 52, 68),
}
LANGUAGES = ("Python", "C++")


def calling_python(artefact: Path, folder: Path) -> Path:
    """Fill an empty folder with links to an artefact that calls the operators in Python."""
    for file in artefact.iterdir():
        if file.name != OPERATORS:
            (folder / file.name).symlink_to(file)
    operators = (artefact / OPERATORS).read_text(encoding="utf-8")
    namespace = (artefact / NAMESPACE).read_text(encoding="ascii")
    (folder / OPERATORS).write_text(operators.replace(namespace, "classwire"), encoding="utf-8")
    return folder


def _engines(folder: Path, cache: Path, precision: Precision) -> Mapping[str, PackedEngine]:
    """The compiled engine, by the language of its operators."""
    source = ModelSource("measured", str(folder))
    config = ServerConfig(compile_cache=str(cache))
    artefact = compile_elsewhere(source, config, precision).folder
    checkpoint, model, _ = load_checkpoint(source, config)
    convert(model, precision)
    packed = PackedModel(model, checkpoint.input_names)
    plain = PackedEngine(packed, "cpu", precision)
    with tempfile.TemporaryDirectory() as links:
        return {
            name: plain.with_forward(CompiledModel(where, packed, LANES))
            for name, where in (
                ("Python", calling_python(artefact, Path(links))),
                ("C++", artefact),
            )
        }


def _processor_s(engine: PackedEngine, texts: PackedTexts) -> float:
    """The median processor time of a pass on one thread, for which other programs count less."""
    taken: list[float] = []
    ends_s = time.monotonic() + PASSES_S
    while len(taken) < FEWEST or time.monotonic() < ends_s:
        began_s = time.thread_time()
        engine.run(texts)
        taken.append(time.thread_time() - began_s)
    return statistics.median(taken)


def _passes_per_s(engine: PackedEngine, texts: PackedTexts, lanes: int) -> float:
    """The rate at which lanes compute passes at the same time."""
    together = threading.Barrier(lanes)

    def lane(_: int) -> float:
        together.wait()
        began_s, passes = time.monotonic(), 0
        while (ran_s := time.monotonic() - began_s) < PASSES_S or passes < FEWEST:
            engine.run(texts)
            passes += 1
        return passes / ran_s

    with ThreadPoolExecutor(lanes) as threads:
        return sum(threads.map(lane, range(lanes)))


def _rows(
    precision: Precision, engines: Mapping[str, PackedEngine], rounds: int
) -> Iterator[list[str]]:
    for what, lengths in LENGTHS.items():
        texts = pack(encodings(lengths))
        pass_s: dict[str, list[float]] = defaultdict(list)
        of_twice: dict[str, list[float]] = defaultdict(list)
        for engine in engines.values():
            engine.run(texts)
        for _ in range(rounds):
            for name, engine in engines.items():
                pass_s[name].append(_processor_s(engine, texts))
                one, two = (_passes_per_s(engine, texts, lanes) for lanes in (1, LANES))
                of_twice[name].append(two / (LANES * one))
        python, native = (statistics.median(pass_s[name]) for name in LANGUAGES)
        lanes = (f"{statistics.median(of_twice[name]):.2f}" for name in LANGUAGES)
        ratios = (a / b for a, b in zip(pass_s["C++"], pass_s["Python"], strict=True))
        yield [
            f"{precision.value}, {what}",
            *(f"{1_000 * python:.1f}", f"{1_000 * native:.1f}"),
            f"{statistics.median(ratios):.2f}",
            *lanes,
        ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, help="folder for the checkpoint and compiled models")
    parser.add_argument("--layers", type=int, default=BERT_BASE.layers)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    end_on_sigterm()
    torch.set_num_threads(1)
    say = progress()
    rows: list[list[str]] = []
    shape = replace(BERT_BASE, layers=arguments.layers)
    with ExitStack() as ends:
        work = arguments.work or Path(ends.enter_context(tempfile.TemporaryDirectory()))
        folder = work / f"bert-base-{shape.layers}"
        if not (folder / "tokenizer.json").exists():
            say("writing the checkpoint")
            save(shape, folder)
        precisions = [Precision.FLOAT32, Precision.INT8]
        if has_bfloat16():
            precisions.append(Precision.BFLOAT16)
        for precision in precisions:
            say(f"compiling in {precision.value}, and measuring")
            engines = _engines(folder, work / "compiled", precision)
            rows += _rows(precision, engines, arguments.rounds)
    head = (
        *("pass", "Python, ms of processor time", "C++, ms", "C++ ÷ Python"),
        *("two lanes ÷ twice one: Python", "C++"),
    )
    print(table(head, rows))


if __name__ == "__main__":
    main()

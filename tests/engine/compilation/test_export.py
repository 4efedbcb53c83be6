"""A compiled model computes what the plain one does, from the same weights, in many threads."""

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from classwire_server.checkpoint.loading import load_checkpoint
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Execution, Precision
from classwire_server.engine.compilation import export as compilation
from classwire_server.engine.compilation import process as compile_process
from classwire_server.engine.compilation.export import CompiledModel, artefact_key
from classwire_server.engine.forward.packed import PackedEngine, PackedModel
from classwire_server.engine.packing import PackedTexts, pack
from classwire_server.errors import CompileError
from classwire_server.tokenization import Encoding, Text
from tests.cli.conftest import Run, classwire
from tests.contract.engines import PATIENCE_S, eventually
from tests.engine.conftest import Compiled

__all__ = ["classwire"]

pytestmark = pytest.mark.timeout(300)  # one of them compiles, for the others too

MIXTURES = ([20], [512], [2], [1], [2, 1], [3, 5], [7] * 9, [2, 100, 300], [30] * 20 + [60, 70])


def texts(lengths: list[int], seed: int = 0) -> PackedTexts:
    """Texts of random tokens."""
    draw = np.random.default_rng(seed)
    return pack(
        [Encoding(draw.integers(5, 100, n).tolist(), [0] * n, 0, Text("")) for n in lengths]
    )


def test_scores_are_the_plain_ones(compiled: Compiled) -> None:
    """For any mixture of lengths, a lone text and a lone token too."""
    model = compiled.load()
    plain = PackedEngine(model, "cpu")
    engine = plain.with_forward(CompiledModel(compiled.artefact.folder, model, lanes=1))

    assert engine.traits.execution is Execution.COMPILED
    for lengths in MIXTURES:
        batch = texts(lengths)
        assert np.abs(engine.run(batch) - plain.run(batch)).max() < 1e-5


def test_many_threads_at_once(compiled: Compiled) -> None:
    """More than there are lanes: some wait, none for ever, and each gets its own logits."""
    model = compiled.load()
    plain = PackedEngine(model, "cpu")
    engine = plain.with_forward(CompiledModel(compiled.artefact.folder, model, lanes=2))
    batches = [texts(lengths) for lengths in MIXTURES]
    expected = [plain.run(batch) for batch in batches]
    together = threading.Barrier(6)

    def run(first: int) -> float:
        together.wait(PATIENCE_S)
        places = [(first + step) % len(batches) for step in range(20)]
        return max(float(np.abs(engine.run(batches[p]) - expected[p]).max()) for p in places)

    with ThreadPoolExecutor(6) as threads:
        differences = list(threads.map(run, range(6), timeout=PATIENCE_S))
    assert max(differences) < 1e-5


def test_the_weights_are_the_models_own(compiled: Compiled) -> None:
    """There is no second copy of them, in memory or on disk."""
    model = compiled.load()
    engine = PackedEngine(model, "cpu", forward=CompiledModel(compiled.artefact.folder, model, 1))
    before = engine.run(texts([5, 9]))
    with torch.no_grad():
        model.model.classifier.bias += 1  # type: ignore[operator, union-attr]

    assert engine.run(texts([5, 9])) == pytest.approx(before + 1, abs=1e-5)
    assert b"word_embeddings" in (compiled.artefact.folder / compilation.LIBRARY).read_bytes()
    assert compiled.artefact.size_bytes < 3_000_000


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts the threads in /proc")
def test_as_many_threads_as_torch_is_set_to(compiled: Compiled) -> None:
    """In lanes, too, which are not the thread that has set it."""
    model = compiled.load()
    engine = PackedEngine(model, "cpu", forward=CompiledModel(compiled.artefact.folder, model, 1))

    def new_threads() -> int:
        before = len(os.listdir("/proc/self/task"))
        engine.run(texts([400, 400]))
        return len(os.listdir("/proc/self/task")) - before

    with ThreadPoolExecutor(1) as lane:
        assert lane.submit(new_threads).result(PATIENCE_S) == 0


def test_an_artefact_of_another_model(compiled: Compiled, checkpoint: Callable[..., Path]) -> None:
    """Is refused in one line."""
    other = ModelSource("other", str(checkpoint("distilbert")))
    model = PackedModel(load_checkpoint(other, compiled.config)[1])

    with pytest.raises(CompileError, match="cannot be loaded"):
        CompiledModel(compiled.artefact.folder, model, 1)


def test_what_was_compiled_needs_no_compiler(
    compiled: Compiled, classwire: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container whose cache was filled when it was built."""
    monkeypatch.setenv("CXX", "no-such-compiler")
    ended = classwire(
        *("compile", "--model", f"tiny={compiled.source.location}"),
        *("--compile-cache", compiled.config.compile_cache),
    )

    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("tiny in float32: already compiled")
    assert ended.out.endswith(f" MB, {compiled.artefact.folder}\n")


def test_without_a_compiler(
    compiled: Compiled, classwire: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One line says so at once, and nothing is left behind."""
    monkeypatch.setenv("CXX", "no-such-compiler")
    ended = classwire(
        *("compile", "--model", f"tiny={compiled.source.location}"),
        *("--compile-cache", str(tmp_path / "empty")),
    )

    assert ended.code == 1
    assert ended.err.startswith("classwire compile: there is no C++ compiler (no-such-compiler)")
    assert len(ended.err.splitlines()) == 1
    assert not (tmp_path / "empty").exists()


def test_a_wrong_setting(classwire: Run) -> None:
    """Exits as `classwire serve` does."""
    ended = classwire("compile", "--precision", "int3")

    assert ended.code == 2
    assert ended.err.startswith("classwire compile: --precision: 'int3' is none of")


def test_the_compiling_process_ends_with_its_parent(compiled: Compiled, tmp_path: Path) -> None:
    """With the compilers that it runs, and no half of a model stays behind."""
    config = ServerConfig(compile_cache=str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-P", "-m", compile_process.__name__],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        pickle.dump((compiled.source, config, Precision.INT8), process.stdin)
        process.stdin.flush()
        # It imports torch and compiles first, beside other tests.
        assert eventually(lambda: any(tmp_path.glob("partial-*/namespace")), 6 * PATIENCE_S)
        process.stdin.close()
        process.wait(PATIENCE_S)

    assert process.returncode
    assert list(tmp_path.iterdir()) == []

    def is_gone() -> bool:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    assert eventually(is_gone)  # once the system has buried them


def test_a_key_for_all_that_the_code_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code for another checkpoint, precision, torch or processor is never found."""
    keys = [artefact_key("a", Precision.INT8)]
    assert keys == [artefact_key("a", Precision.INT8)]
    keys += [artefact_key("b", Precision.INT8), artefact_key("a", Precision.FLOAT32)]
    for place, name, value in (
        (compilation, "_own_code", lambda: "other"),
        (compilation, "__version__", "0"),
        (torch, "__version__", "0"),
        (transformers, "__version__", "0"),
        (compilation, "_processor_flags", lambda: ("flags: other",)),
        (torch.backends.cpu, "get_cpu_capability", lambda: "other"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(place, name, value)
            keys.append(artefact_key("a", Precision.INT8))
    assert len(set(keys)) == len(keys)

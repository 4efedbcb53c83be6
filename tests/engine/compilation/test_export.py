"""A compiled model computes the same as the plain one, from the same weights, in many threads."""

import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from classwire_server import engine as engine_room
from classwire_server.checkpoint.loading import Checkpoint, ProblemType, load_checkpoint
from classwire_server.checkpoint.tokenizer import SavedTokenizer
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Execution, Precision
from classwire_server.engine.compilation import environment
from classwire_server.engine.compilation import export as compilation
from classwire_server.engine.compilation import process as compile_process
from classwire_server.engine.compilation.export import CompiledModel, artefact_key
from classwire_server.engine.forward.packed import PackedEngine, PackedModel
from classwire_server.engine.packing import PackedTexts, pack
from classwire_server.errors import CompileError
from classwire_server.scoring import Activation
from classwire_server.tokenization import Encoding, Text
from tests.cli.conftest import Run, classwire
from tests.compiled import Compiled
from tests.contract.engines import PATIENCE_S, eventually

__all__ = ["classwire"]

pytestmark = pytest.mark.timeout(300)  # the first test compiles the model for all

MIXTURES = ([20], [512], [2], [1], [2, 1], [3, 5], [7] * 9, [2, 100, 300], [30] * 20 + [60, 70])


def texts(lengths: list[int], seed: int = 0) -> PackedTexts:
    """Texts of random tokens."""
    draw = np.random.default_rng(seed)
    return pack(
        [Encoding(draw.integers(5, 100, n).tolist(), [0] * n, 0, Text("")) for n in lengths]
    )


def test_scores_are_the_plain_ones(compiled: Compiled) -> None:
    """Scores agree for any mixture of lengths, also for one text and for one token."""
    model = compiled.load()
    plain = PackedEngine(model, "cpu")
    engine = plain.with_forward(CompiledModel(compiled.artefact.folder, model, lanes=1))

    assert engine.traits.execution is Execution.COMPILED
    for lengths in MIXTURES:
        batch = texts(lengths)
        assert np.abs(engine.run(batch) - plain.run(batch)).max() < 1e-5


def test_many_threads_at_once(compiled: Compiled) -> None:
    """With more threads than lanes some wait, all end, and each gets its own logits."""
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
    """The library reads the model's weights: no second copy is in memory or on disk."""
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
    """A lane's thread uses torch's number of threads, which another thread has set."""
    model = compiled.load()
    engine = PackedEngine(model, "cpu", forward=CompiledModel(compiled.artefact.folder, model, 1))

    def new_threads() -> int:
        before = len(os.listdir("/proc/self/task"))
        engine.run(texts([400, 400]))
        return len(os.listdir("/proc/self/task")) - before

    with ThreadPoolExecutor(1) as lane:
        assert lane.submit(new_threads).result(PATIENCE_S) == 0


def test_an_artefact_of_another_model(compiled: Compiled, checkpoint: Callable[..., Path]) -> None:
    """CompiledModel rejects an artefact of another model."""
    other = ModelSource("other", str(checkpoint("distilbert")))
    loaded = load_checkpoint(other, compiled.config)
    model = PackedModel(loaded.model, loaded.checkpoint.input_names)

    with pytest.raises(CompileError, match="cannot be loaded"):
        CompiledModel(compiled.artefact.folder, model, 1)


def test_what_was_compiled_needs_no_compiler(
    compiled: Compiled, classwire: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`classwire compile` finds the cached artefact without a compiler, as in a built container."""
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
    """Without a compiler `classwire compile` fails at once, in one line, and leaves nothing."""
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
    """`classwire compile` rejects a wrong setting with exit code 2, like `classwire serve`."""
    ended = classwire("compile", "--precision", "int3")

    assert ended.code == 2
    assert ended.err.startswith("classwire compile: --precision: 'int3' is none of")


def test_the_compiling_process_ends_with_its_parent(compiled: Compiled, tmp_path: Path) -> None:
    """The compiling process ends together with its compilers, and leaves no partial artefact."""
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
        # It imports torch and compiles first, while other tests run.
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

    assert eventually(is_gone)  # once the system has reaped them


_CHECKPOINT = Checkpoint(
    name="tiny",
    location="tiny",
    revision="",
    architecture="Bert",
    tokenizer=SavedTokenizer(),
    max_tokens=8,
    input_names=frozenset({"token_type_ids"}),
    labels=("a", "b"),
    problem_type=ProblemType.SINGLE_LABEL,
    activation=Activation.SOFTMAX,
    fingerprint="a",
)


def test_a_key_for_all_that_the_code_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key changes with the checkpoint, its inputs, precision, versions and processor."""
    keys = [artefact_key(_CHECKPOINT, Precision.INT8)]
    assert keys == [artefact_key(_CHECKPOINT, Precision.INT8)]
    keys += [
        artefact_key(replace(_CHECKPOINT, fingerprint="b"), Precision.INT8),
        artefact_key(replace(_CHECKPOINT, input_names=frozenset()), Precision.INT8),
        artefact_key(_CHECKPOINT, Precision.FLOAT32),
    ]
    # Patches what the module of the environment itself refers to.
    for name, value in (
        ("__version__", "0"),
        ("torch.__version__", "0"),
        ("transformers.__version__", "0"),
        ("processor_features", lambda: ("flags: other",)),
        ("torch.backends.cpu.get_cpu_capability", lambda: "other"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(f"{environment.__name__}.{name}", value)
            keys.append(artefact_key(_CHECKPOINT, Precision.INT8))
    assert len(set(keys)) == len(keys)


def _edit(source: Path) -> None:
    source.write_bytes(source.read_bytes() + b"\n")


def _rename(source: Path) -> None:
    source.rename(source.with_name(f"{source.stem}_{source.suffix}"))


@pytest.mark.parametrize("change", [_edit, _rename])
@pytest.mark.parametrize(
    "name",
    [
        "__init__.py",
        "forward/attention.py",
        "compilation/export.py",
        "compilation/compiled_runner.cpp",
    ],
)
def test_the_key_changes_with_each_source_of_the_engine(
    tmp_path: Path, name: str, change: Callable[[Path], None]
) -> None:
    """The key depends on the contents and the name of each source, in the rooms of the engine too:
    the server must not load native code that an older source made.
    """
    folder = tmp_path / "engine"
    shutil.copytree(Path(engine_room.__file__).parent, folder)
    key = artefact_key(_CHECKPOINT, Precision.INT8, folder)
    assert key == artefact_key(_CHECKPOINT, Precision.INT8)

    change(folder / name)

    assert artefact_key(_CHECKPOINT, Precision.INT8, folder) != key

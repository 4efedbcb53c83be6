"""A second start measures nothing, unless something has changed that its figures depend on."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classwire_server.checkpoint.contents import CheckpointContents
from classwire_server.checkpoint.loading import ReadCheckpoint, read_checkpoint
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Execution
from classwire_server.engine.compilation import environment
from classwire_server.engine.packing import PackedTexts, pack
from classwire_server.engine.selection import changeover, choice, engine_start
from classwire_server.engine.selection.choice import Prepared, prepare
from classwire_server.engine.selection.engine_start import EngineStart, circumstances
from classwire_server.engine.selection.measurement_cache import Entry, MeasurementCache
from classwire_server.tokenization import Text, Truncation
from tests.compiled import Compiled
from tests.engine.selection.conftest import Begin
from tests.engine.selection.test_changed_files import edit, rewrite

TEXTS = ("I really love this book", "ok", "Not worth the money, terrible software.")


def logits(start: EngineStart) -> np.ndarray:
    """The logits of a few texts by the engine as it serves."""
    tokenization = start.selection.checkpoint.tokenization(Truncation.REJECT)
    texts: PackedTexts = pack([tokenization.encode(Text(text), None, "") for text in TEXTS])
    return start.selection.finished(start.selection.engine).run(texts)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"precision": "int8"},
        {"precision": "auto", "max_score_difference": 0.9, "min_label_agreement": 0.1},
        {"deterministic": True},
        {"batch_tokens": 0},
    ],
)
def test_a_second_start_measures_nothing(
    settings: dict[str, Any], begin: Begin, asked: list[Text]
) -> None:
    """It serves the same engine with the same figures, and its logits have the same bits."""
    first = begin(**settings)
    asked.clear()
    second = begin(**settings)
    assert not asked
    for name in ("deviation", "profile", "batch_tokens", "layout", "has_reordered_weights"):
        assert getattr(second.selection, name) == getattr(first.selection, name)
    assert second.selection.engine.traits == first.selection.engine.traits
    for name in ("fingerprint", "max_tokens", "takes_pairs", "labels"):
        assert getattr(second.selection.checkpoint, name) == getattr(
            first.selection.checkpoint, name
        )
    assert np.array_equal(logits(first), logits(second))


def test_a_model_that_cannot_be_packed(
    checkpoint: Callable[..., Path], begin: Begin, asked: list[Text]
) -> None:
    """A second start builds the layout that the first has found."""
    model = (f"xlnet={checkpoint('xlnet')}",)
    first = begin(model=model)
    asked.clear()
    second = begin(model=model)
    assert not asked
    assert second.selection.layout == first.selection.layout == "grouped by length"
    assert not second.selection.profile.is_shared
    assert np.array_equal(logits(first), logits(second))


@pytest.fixture
def prepared(configure: Callable[..., ServerConfig]) -> Prepared:
    """A checkpoint that has been read."""
    config = configure()
    return prepare(config.sources[0], config, "cpu")


def test_circumstances_have_all_that_figures_depend_on(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A measurement is for one place, one set of versions, one processor and certain settings."""
    calibration = tmp_path / "texts.txt"
    calibration.write_text("one text")
    found = [circumstances(prepared, "here")]
    assert found == [circumstances(prepared, "here")]
    found.append(circumstances(prepared, "there"))
    for settings in (
        {"precision": "int8"},
        {"min_label_agreement": 0.5},
        {"max_score_difference": 0.5},
        {"calibration": str(calibration)},
        {"deterministic": True},
        {"compile": True},
        {"batch_tokens": 8},
        {"max_tokens": 8},
        {"safetensors_only": True},
        {"adapter_bases": "bases"},
    ):
        config = replace(prepared.config, **settings)
        found.append(circumstances(replace(prepared, config=config), "here"))
    calibration.write_text("another text")
    config = replace(prepared.config, calibration=str(calibration))
    found.append(circumstances(replace(prepared, config=config), "here"))
    for division in (replace(prepared.division, lanes=7), replace(prepared.division, threads=7)):
        found.append(circumstances(replace(prepared, division=division), "here"))
    found.append(circumstances(replace(prepared, device="mps"), "here"))
    for module, name, value in (
        (environment, "__version__", "0"),
        (environment, "torch.__version__", "0"),
        (environment, "transformers.__version__", "0"),
        (environment, "processor_features", lambda: ("flags: other",)),
        (environment, "torch.backends.cpu.get_cpu_capability", lambda: "other"),
        (engine_start, "source_digest", lambda folder: "other"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(f"{module.__name__}.{name}", value)
            found.append(circumstances(prepared, "here"))
    cache = MeasurementCache(tmp_path)
    assert len({cache.path_of(each) for each in found}) == len(found)


def test_other_circumstances_are_measured(begin: Begin, asked: list[Text]) -> None:
    """A start with another setting measures, and both measurements are kept."""
    begin()
    asked.clear()
    begin(max_tokens=64)
    assert asked
    asked.clear()
    begin()
    begin(max_tokens=64)
    assert not asked


def test_a_check_measures_anew(
    begin: Begin, asked: list[Text], entry_file: Callable[[], Path]
) -> None:
    """With `anew` a start measures, and its figures replace those of the earlier start."""
    begin()
    before = entry_file().stat().st_ino
    asked.clear()
    begin(anew=True)
    assert asked
    assert entry_file().stat().st_ino != before


def test_own_code_is_measured_at_every_start(begin: Begin, asked: list[Text]) -> None:
    """With --trust-remote-code nothing is kept: a checkpoint's code may depend on anything."""
    begin(trust_remote_code=True)
    asked.clear()
    begin(trust_remote_code=True)
    assert asked


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_an_engine_that_computes_something_else(
    precision: str,
    begin: Begin,
    configure: Callable[..., ServerConfig],
    asked: list[Text],
    entry_file: Callable[[], Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A start compares the logits of a sample with those of the measured engine."""

    def move(entry: Entry, _: object) -> Entry:
        rows = entry.measurement.sample.logits
        moved = tuple(tuple(value + n for n, value in enumerate(row)) for row in rows)
        sample = replace(entry.measurement.sample, logits=moved)
        return replace(entry, measurement=replace(entry.measurement, sample=sample))

    begin(precision=precision)
    edit(entry_file(), configure(precision=precision), move)
    asked.clear()
    begin(precision=precision)
    assert asked
    assert any(line.startswith("bert: measuring anew: ") for line in caplog.messages)
    asked.clear()
    begin(precision=precision)
    assert not asked


def test_a_replacement_measures_nothing(begin: Begin, asked: list[Text], folder: Path) -> None:
    """A worker that replaces another builds the same engine, if the files are the same."""
    known = begin(compile_cache="/dev/null").measurement
    asked.clear()
    again = begin(known, compile_cache="/dev/null")
    assert not asked
    assert again.measurement == known
    rewrite(folder)
    other = begin(known, compile_cache="/dev/null")
    assert asked
    assert known is not None
    assert other.selection.checkpoint.fingerprint != known.fingerprint


def test_a_replacement_of_files_that_have_been_read(
    begin: Begin, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It computes the fingerprint only if a stamp differs. The background finds contents that no
    stamp shows.
    """
    computed: list[ReadCheckpoint] = []
    fingerprint = ReadCheckpoint.fingerprint

    def compute(self: ReadCheckpoint) -> str:
        computed.append(self)
        return fingerprint(self)

    monkeypatch.setattr(ReadCheckpoint, "fingerprint", compute)
    first = begin(compile_cache="/dev/null")
    computed.clear()
    again = begin(first.measurement, first.files, compile_cache="/dev/null")
    assert not computed
    assert again.files == first.files
    os.utime(folder / "config.json")
    touched = begin(first.measurement, first.files, compile_cache="/dev/null")
    assert computed
    assert touched.measurement == first.measurement

    rewrite(folder)
    assert touched.files is not None
    stamps = CheckpointContents([folder], safetensors_only=False).stamps
    with pytest.raises(AssertionError):  # it does not settle
        begin(first.measurement, replace(touched.files, stamps=stamps), compile_cache="/dev/null")


def test_files_that_change_while_a_start_reads_them(
    begin: Begin, folder: Path, asked: list[Text], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start measures, and serves them under their own fingerprint."""
    first = begin()

    def read_changed(*arguments: Any) -> ReadCheckpoint:
        found = read_checkpoint(*arguments)
        rewrite(folder)
        return replace(read_checkpoint(*arguments), contents=found.contents)

    monkeypatch.setattr(f"{choice.__name__}.read_checkpoint", read_changed)
    asked.clear()
    second = begin()
    assert asked
    assert second.selection.checkpoint.fingerprint != first.selection.checkpoint.fingerprint


@pytest.mark.timeout(300)  # the first test that needs the compiled model compiles it
def test_a_second_start_begins_compiled(
    compiled: Compiled,
    begin: Begin,
    configure: Callable[..., ServerConfig],
    asked: list[Text],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once a start has changed over to the compiled engine, the next starts on it. Without the
    compiled model it measures.
    """
    folder = compiled.artefact.folder
    # Links, not copies: a process must not load one library from two files.
    shutil.copytree(folder, tmp_path / "cache" / folder.name, copy_function=os.link)
    (tmp_path / "cache").chmod(0o700)
    settings = {"model": (f"tiny={compiled.source.location}",), "compile": True}
    config = configure(**settings)
    start = EngineStart(config.sources[0], config, "cpu")
    assert start.measurement is None
    found = changeover.compiled(start.selection, config.sources[0], config)
    assert found is not None
    runner, deviation = found
    start.serves(runner, deviation)
    assert start.settle()
    asked.clear()

    second = begin(**settings)
    assert not asked
    assert second.selection.engine.traits.execution is Execution.COMPILED
    assert second.selection.deviation == deviation

    shutil.rmtree(tmp_path / "cache" / folder.name)
    third = begin(**settings)
    assert asked
    assert third.selection.engine.traits.execution is Execution.PLAIN
    assert "tiny: measuring anew: its compiled model is no longer in the cache" in caplog.messages

"""Measurements on disk: whole, of this user, few, and never the reason of a failed start."""

import json
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from classwire_server.checkpoint.contents import ReadContents
from classwire_server.engine import Deviation
from classwire_server.engine.selection import measurement_cache
from classwire_server.engine.selection.engine_start import EngineStart
from classwire_server.engine.selection.measurement_cache import Entry, MeasurementCache
from classwire_server.tokenization import Text
from tests.engine.selection.conftest import Begin


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _flip(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"takes_pairs": true', b'"takes_pairs": tru3'))


def _alter(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"takes_pairs": true', b'"takes_pairs": null'))


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [_truncate, _flip, _alter, _empty])
def test_a_damaged_entry(
    damage: Callable[[Path], None],
    begin: Begin,
    asked: list[Text],
    entry_file: Callable[[], Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A start logs a damaged entry, measures anew and replaces it."""
    begin()
    damage(entry_file())
    asked.clear()
    begin()
    assert asked
    assert f"{entry_file()}: a measurement is damaged" in caplog.text
    asked.clear()
    begin()
    assert not asked


def test_the_entry_of_others(
    begin: Begin,
    asked: list[Text],
    entry_file: Callable[[], Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An entry under a wrong name is not used."""
    begin(max_tokens=64)
    other = entry_file()
    start = begin()
    own = next(path for path in other.parent.glob("*.json") if path != other)
    shutil.copy(other, own)
    asked.clear()
    assert begin().selection.checkpoint.max_tokens == start.selection.checkpoint.max_tokens
    assert asked
    assert "a measurement is damaged (ValueError)" in caplog.text


@pytest.mark.parametrize("where", [".", "measurements", "entry"])
def test_what_others_may_write_is_not_believed(
    where: str,
    begin: Begin,
    asked: list[Text],
    entry_file: Callable[[], Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A start does not use an entry that other users could have written."""
    begin()
    path = entry_file() if where == "entry" else tmp_path / "cache" / where
    path.chmod(path.stat().st_mode | 0o020)
    asked.clear()
    begin()
    assert asked
    assert f"measurements are not used: {path}: other users may write to it" in caplog.text


@pytest.mark.parametrize("where", [".", "measurements", "entry"])
def test_what_belongs_to_others_is_not_believed(
    where: str,
    begin: Begin,
    asked: list[Text],
    entry_file: Callable[[], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A start does not use an entry of another user."""
    begin()
    foreign = entry_file() if where == "entry" else tmp_path / "cache" / where
    original = Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        status = original(path, **options)
        if path != foreign:
            return status
        return os.stat_result([*status[:4], os.geteuid() + 1, *status[5:10]])

    monkeypatch.setattr(Path, "stat", stat)
    asked.clear()
    begin()
    assert asked
    assert f"measurements are not used: {foreign}: belongs to another user" in caplog.text


def test_a_folder_that_cannot_be_made(
    begin: Begin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A start without a cache folder measures, and says that nothing is kept."""
    caplog.set_level(logging.INFO, "classwire_server")
    (tmp_path / "file").touch()
    begin(compile_cache=str(tmp_path / "file" / "cache"))
    begin(compile_cache=str(tmp_path / "file"))
    kept = [line for line in caplog.messages if line.startswith("a measurement is not kept: ")]
    assert len(kept) == 2


def test_a_full_or_read_only_folder(
    begin: Begin,
    asked: list[Text],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A folder that takes no file does not fail a start, and is read all the same."""
    caplog.set_level(logging.INFO, "classwire_server")
    begin()

    def refuse(*_: object, **__: object) -> Any:
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    monkeypatch.setattr(os, "utime", refuse)
    asked.clear()
    begin()
    assert not asked
    begin(max_tokens=64)
    assert asked
    assert any("not kept" in line and "Read-only" in line for line in caplog.messages)


def _entry(number: int, start: EngineStart) -> Entry:
    assert start.measurement is not None
    deviation = Deviation(number, 1.0, 0.0)
    files = ReadContents((), "")
    return Entry({"number": str(number)}, files, replace(start.measurement, deviation=deviation))


def test_few_entries_are_kept(
    begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache keeps the entries that were used last."""
    monkeypatch.setattr(measurement_cache, "MOST_ENTRIES", 2)
    cache, start = MeasurementCache(tmp_path / "lru"), begin()
    entries = [_entry(number, start) for number in range(3)]
    for age, entry in enumerate(entries[:2]):
        cache.keep(entry)
        os.utime(cache.path_of(entry.circumstances), (age, age))
    assert cache.find(entries[0].circumstances) == entries[0]  # now the last that was used
    cache.keep(entries[2])
    found = [cache.find(entry.circumstances) for entry in entries]
    assert found == [entries[0], None, entries[2]]


def test_what_killed_processes_left(begin: Begin, tmp_path: Path) -> None:
    """The cache deletes old partial files, but not those of a process that may be writing."""
    cache, start = MeasurementCache(tmp_path / "cache"), begin()
    parts = tmp_path / "cache" / "measurements"
    (parts / "partial-dead").touch()
    os.utime(parts / "partial-dead", (0, 0))
    (parts / "partial-alive").touch()
    cache.keep(_entry(1, start))
    assert {path.name for path in parts.glob("partial-*")} == {"partial-alive"}


def test_many_writers_and_readers(begin: Begin, tmp_path: Path) -> None:
    """Starts at the same time on one folder see a whole entry or none."""
    start = begin()
    entry, place = _entry(1, start), tmp_path / "cache"
    together, found = threading.Barrier(4), list[Entry | None]()

    def use() -> None:
        cache = MeasurementCache(place)
        together.wait()
        for _ in range(20):
            cache.keep(entry)
            found.append(cache.find(entry.circumstances))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [entry] * 80
    assert not list((place / "measurements").glob("partial-*"))


def test_an_entry_is_json(begin: Begin, entry_file: Callable[[], Path]) -> None:
    """People can read an entry: it says what it is for."""
    start = begin()
    entry = json.loads(entry_file().read_text())["entry"]
    assert entry["circumstances"]["precision"] == "float32"
    assert entry["measurement"]["fingerprint"] == start.selection.checkpoint.fingerprint
    assert entry_file().stat().st_mode & 0o777 == 0o600

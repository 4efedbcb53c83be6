"""A start notices files that are not those of the earlier start."""

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from classwire_server.checkpoint.contents import CheckpointContents
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine.selection.choice import prepare
from classwire_server.engine.selection.engine_start import EngineStart, circumstances
from classwire_server.engine.selection.measurement_cache import Entry, MeasurementCache
from classwire_server.tokenization import Text
from tests.engine.selection.conftest import Begin


def rewrite(folder: Path) -> None:
    """Change a label in place, so that size and inode stay, and set the old time of writing."""
    path = folder / "config.json"
    before, content = path.stat(), path.read_text()
    assert content.count('"1 star"') == 2
    path.write_text(content.replace('"1 star"', '"1 Star"'))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (
        *(before.st_size, before.st_mtime_ns),
        before.st_ino,
    )


def replace_file(folder: Path) -> None:
    """Put another file of the same size in the place of one."""
    path = folder / "config.json"
    other = folder / "other"
    other.write_text(path.read_text().replace('"1 star"', '"1 Star"'))
    other.replace(path)


def add_file(folder: Path) -> None:
    """Add a file that a tokenizer may read."""
    (folder / "added_tokens.json").write_text("{}")


@pytest.mark.parametrize("change", [rewrite, replace_file, add_file])
def test_changed_files_are_measured(
    change: Callable[[Path], None],
    folder: Path,
    begin: Begin,
    asked: list[Text],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A start notices a changed file, and measures anew."""
    caplog.set_level(logging.INFO, "classwire_server")
    begin()
    change(folder)
    asked.clear()
    second = begin()
    assert asked
    assert "bert: its files have changed since they were measured" in caplog.messages
    assert second.selection.checkpoint.labels[0] == ("1 star" if change is add_file else "1 Star")


def test_touched_and_copied_files_are_not_measured(
    folder: Path, begin: Begin, asked: list[Text]
) -> None:
    """Files with other times or inodes and the same contents are those that were measured."""
    begin()
    asked.clear()
    os.utime(folder / "config.json")
    begin()
    copy = shutil.copytree(folder, folder.with_name("copy"))
    shutil.rmtree(folder)
    copy.rename(folder)
    begin()
    assert not asked


def edit(
    path: Path, config: ServerConfig, change: Callable[[Entry, CheckpointContents], Entry]
) -> None:
    """Replace the only entry by a changed one. `change` gets the files as they are now."""
    cache = MeasurementCache(path.parent.parent)
    ready = prepare(config.sources[0], config, "cpu")
    contents = ready.read.contents
    assert contents is not None
    entry = cache.find(circumstances(ready, contents.location))
    assert entry is not None
    cache.keep(change(entry, contents))


def forge(path: Path, config: ServerConfig) -> None:
    """Give the only entry the stamps of the files as they are now."""
    edit(
        path,
        config,
        lambda entry, contents: replace(entry, files=replace(entry.files, stamps=contents.stamps)),
    )


def test_contents_that_no_stamp_shows(
    folder: Path,
    begin: Begin,
    configure: Callable[..., ServerConfig],
    asked: list[Text],
    entry_file: Callable[[], Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The hash in the background finds what the stamps do not show, and deletes the entry."""
    begin()
    rewrite(folder)
    config = configure()
    forge(entry_file(), config)
    asked.clear()
    start = EngineStart(config.sources[0], config, "cpu")
    assert not asked
    assert not start.settle()
    assert "the contents of its files are not those that were measured" in caplog.text
    begin()
    assert asked


def test_files_that_change_during_a_start(
    folder: Path, configure: Callable[..., ServerConfig], begin: Begin, asked: list[Text]
) -> None:
    """A measurement is not kept for files that change between loading and hashing."""
    config = configure()
    start = EngineStart(config.sources[0], config, "cpu")
    rewrite(folder)
    assert start.settle()
    asked.clear()
    begin()
    assert asked


def test_files_that_change_after_a_second_start(
    folder: Path, configure: Callable[..., ServerConfig], begin: Begin
) -> None:
    """Files that change after a start do not end the model that it has loaded before."""
    begin()
    config = configure()
    start = EngineStart(config.sources[0], config, "cpu")
    rewrite(folder)
    assert start.settle()

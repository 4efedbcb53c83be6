"""Compiled models on disk: complete or absent, and writable by no other user."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from classwire_server.engine.compilation.cache import CompileCache, cache_folder
from classwire_server.errors import CompileError

KEY = "0123456789abcdef"
CODE = b"code" * 1000


def write(folder: Path) -> None:
    """Write what a compiler would."""
    (folder / "model.so").write_bytes(CODE)
    (folder / "model.json").write_text("{}")


@pytest.fixture
def cache(tmp_path: Path) -> CompileCache:
    """An empty cache, whose folder does not exist yet."""
    return CompileCache(tmp_path / "cache")


def test_what_is_written_is_found(cache: CompileCache) -> None:
    """Any process with the same folder finds an artefact; only the user may read the folder."""
    assert cache.find(KEY) is None
    filled = cache.fill(KEY, write)

    assert CompileCache(cache.folder).find(KEY) == filled
    assert (filled / "model.so").read_bytes() == CODE
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in cache.folder.iterdir()] == [KEY]


def truncate(path: Path) -> None:
    """Damage a file as a full disk does."""
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    """Damage a file as a failing disk does."""
    path.write_bytes(b"x" + path.read_bytes()[1:])


@pytest.mark.parametrize("damage", [truncate, flip, Path.unlink])
@pytest.mark.parametrize("name", ["model.so", "sha256.json"])
def test_a_damaged_artefact_is_deleted_and_written_again(
    cache: CompileCache, damage: Callable[[Path], None], name: str
) -> None:
    """The cache deletes a damaged artefact instead of returning it, and can be filled again."""
    artefact = cache.fill(KEY, write)
    damage(artefact / name)

    assert cache.find(KEY) is None
    assert not artefact.exists()
    assert cache.find(KEY) is None
    assert (cache.fill(KEY, write) / "model.so").read_bytes() == CODE


def test_the_faster_of_two_processes_is_kept(cache: CompileCache) -> None:
    """The cache keeps the artefact that is there first, since a process may be loading it."""

    def write_late(folder: Path) -> None:
        write(folder)
        CompileCache(cache.folder).fill(KEY, write)
        (folder / "model.json").write_text("late")

    artefact = cache.fill(KEY, write_late)

    assert (artefact / "model.json").read_text() == "{}"
    assert [path.name for path in cache.folder.iterdir()] == [KEY]


def test_a_damaged_artefact_does_not_stop_the_one_that_replaces_it(cache: CompileCache) -> None:
    """A new artefact replaces a damaged one that was there first."""
    damaged = cache.fill(KEY, write)
    truncate(damaged / "model.so")

    assert (cache.fill(KEY, write) / "model.so").read_bytes() == CODE


@pytest.mark.parametrize("where", ["write", "fsync"])
def test_a_full_disk(cache: CompileCache, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk `fill` fails with one line, and leaves nothing behind."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if where == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CompileError, match=f"^{cache.folder}: No space left on device$"):
        cache.fill(KEY, full if where == "write" else write)

    assert list(cache.folder.iterdir()) == []


def test_a_compilation_that_fails_leaves_nothing(cache: CompileCache) -> None:
    """A failed compilation leaves no file in the cache."""

    def fail(folder: Path) -> None:
        write(folder)
        raise CompileError("no compiler")

    with pytest.raises(CompileError, match="no compiler"):
        cache.fill(KEY, fail)
    assert list(cache.folder.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """The error names a folder that cannot be created."""
    (tmp_path / "file").touch()
    with pytest.raises(CompileError, match="file/cache: Not a directory"):
        CompileCache(tmp_path / "file" / "cache").fill(KEY, write)


@pytest.mark.parametrize("part", [".", KEY])
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_what_others_may_write_is_rejected(cache: CompileCache, part: str, mode: int) -> None:
    """The cache rejects a folder that other users may write to: the server would run their code."""
    cache.fill(KEY, write)
    (cache.folder / part).chmod(mode)

    with pytest.raises(CompileError, match="other users may write"):
        cache.find(KEY)
    if part == ".":
        with pytest.raises(CompileError, match="other users may write"):
            cache.fill(KEY, write)


def test_what_belongs_to_others_is_rejected(
    cache: CompileCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache rejects folders of other users, but not root's: root fills caches of containers."""
    cache.fill(KEY, write)
    os_stat = Path.stat

    def owned_by(user: int) -> Callable[..., os.stat_result]:
        def stat(path: Path, **options: bool) -> os.stat_result:
            values = list(os_stat(path, **options))
            values[4] = user
            return os.stat_result(values)

        return stat

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for user in (0, 1000):
        monkeypatch.setattr(Path, "stat", owned_by(user))
        assert cache.find(KEY)
    monkeypatch.setattr(Path, "stat", owned_by(1001))
    with pytest.raises(CompileError, match="belongs to another user"):
        cache.find(KEY)


def test_partial_artefacts_of_killed_processes_are_deleted(cache: CompileCache) -> None:
    """The next process deletes them, but not the partial artefact of a live process."""
    (cache.folder / "partial-dead").mkdir(parents=True)
    cache.folder.chmod(0o700)

    def write_and_sweep(folder: Path) -> None:
        write(folder)
        cache.sweep()
        assert (folder / "model.so").exists()

    cache.fill(KEY, write_and_sweep)

    assert [path.name for path in cache.folder.iterdir()] == [KEY]


def test_the_users_own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The cache is in the user's cache folder unless a setting names another."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("") == tmp_path / "classwire"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("") == tmp_path / ".cache" / "classwire"
    assert cache_folder("~/there") == tmp_path / "there"

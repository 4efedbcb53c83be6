"""A start of a model's engine: on an earlier start's measurement, or with a measurement."""

import hashlib
import importlib.metadata
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import classwire_server
from classwire_server.checkpoint.contents import ReadContents
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Deviation
from classwire_server.engine.compilation.cache import cache_folder
from classwire_server.engine.compilation.environment import processor, source_digest, versions
from classwire_server.engine.forward.runner import Runner
from classwire_server.errors import telling_line

from .choice import Prepared, measured, prepare
from .measurement import Measurement, peak_memory_bytes
from .measurement_cache import Entry, MeasurementCache
from .rebuilding import rebuilt

log = logging.getLogger(__name__)

_SETTINGS = (
    *("adapter_bases", "safetensors_only", "max_tokens", "precision", "min_label_agreement"),
    *("max_score_difference", "deterministic", "compile", "batch_tokens"),
)
"""The settings that decide what is measured, besides those in `circumstances`."""


class EngineStart:
    """Selects the engine of a model, and keeps what it measures for later starts.

    `known` is the measurement of a worker that this one replaces, `known_files` what its `settle`
    has read. `anew` measures whatever earlier starts have measured. `files` is what `settle` has
    read of the files, None before. Raises ConfigError for a missing device, and CheckpointError for
    a checkpoint that cannot be served. For one thread of the worker.
    """

    def __init__(
        self,
        source: ModelSource,
        config: ServerConfig,
        device: str,
        known: Measurement | None = None,
        known_files: ReadContents | None = None,
        *,
        anew: bool = False,
    ) -> None:
        self._name = source.name
        self._cache = MeasurementCache(cache_folder(config.compile_cache))
        self._is_replacement = known is not None
        self._digest = ""  # of the files that the fingerprint belongs to, if others computed it
        self.measurement: Measurement | None = None
        self.files: ReadContents | None = None
        prepared = self._prepare(source, config, device)
        wanted = known
        if known is None:
            wanted = None if anew else self._find()
        elif known_files is not None and self._has_stamps(known_files):
            self._digest = known_files.digest
        elif known.fingerprint != prepared.read.fingerprint():
            wanted = None  # the files have changed, which the server will notice
        if wanted is not None:
            try:
                self.selection = rebuilt(prepared, wanted)
                self.measurement = wanted
            except Exception as error:  # a model's code may raise anything
                log.warning("%s: measuring anew: %s", source.name, telling_line(error))
                self._digest = ""
                del prepared  # its weights, before they are read again
                prepared = self._prepare(source, config, device)
        if self.measurement is None:
            self.selection = measured(prepared)
            if prepared.device == "cpu" and not config.compile:
                self.serves(
                    self.selection.finished(self.selection.engine), self.selection.deviation
                )
        elif known is None:
            path = self._cache.path_of(self._circumstances)
            log.info("%s: starts on the measurement in %s", source.name, path)

    @property
    def peak_memory_bytes(self) -> int:
        """The peak memory of this process, or of the one that measured if that needed more: a start
        that measures nothing runs no large batch. 0 if the system does not report it.
        """
        measured = 0 if self.measurement is None else self.measurement.peak_memory_bytes
        return max(measured, peak_memory_bytes())

    def serves(self, runner: Runner, deviation: Deviation) -> Measurement:
        """Note the engine that serves from now on, whose deviation has been measured."""
        self.measurement = self.selection.measurement(runner, deviation)
        return self.measurement

    def settle(self) -> bool:
        """Keep the measurement for later starts; or, if this start has taken the fingerprint from
        another, compare the contents of the files with those that it was computed of.

        Reads all files, so it is for a thread in the background. Returns False if the contents are
        others: then the model must not be served under its fingerprint.
        """
        contents = self._contents
        if contents is None or self.measurement is None:
            return True
        try:
            digest = contents.digest()
        except OSError as error:
            log.info("%s: the files cannot be read again: %s", self._name, error)
            return True
        if not contents.are_steady():
            log.info("%s: files have changed since the start", self._name)
            return True
        if self._digest and digest != self._digest:
            self._cache.drop(self._circumstances)
            log.error(
                "%s: the contents of its files are not those that were measured, though size, time "
                "and inode are",
                self._name,
            )
            return False
        self.files = ReadContents(contents.stamps, digest)
        if not (self._digest or self._is_replacement):
            self._cache.keep(Entry(self._circumstances, self.files, self.measurement))
        return True

    def _prepare(self, source: ModelSource, config: ServerConfig, device: str) -> Prepared:
        prepared = prepare(source, config, device)
        # The checkpoint's own code may do anything, and no stamp shows it. A GPU's engine has more
        # parts than a measurement describes.
        is_kept = prepared.device == "cpu" and not config.trust_remote_code
        contents = prepared.read.contents if is_kept else None
        self._contents = contents
        self._circumstances = {} if contents is None else circumstances(prepared, contents.location)
        return prepared

    def _find(self) -> Measurement | None:
        """The measurement of an earlier start for the files as they are, or None."""
        contents = self._contents
        entry = None if contents is None else self._cache.find(self._circumstances)
        if contents is None or entry is None:
            return None
        self._digest = entry.files.digest
        if self._has_stamps(entry.files):
            return entry.measurement
        with suppress(OSError):
            if contents.digest() == entry.files.digest:  # copied or touched
                files = ReadContents(contents.stamps, entry.files.digest)
                self._cache.keep(replace(entry, files=files))
                return entry.measurement
        log.info("%s: its files have changed since they were measured", self._name)
        self._digest = ""
        return None

    def _has_stamps(self, files: ReadContents) -> bool:
        """Whether nobody has written or replaced a file since these were read, nor while this start
        read them.
        """
        contents = self._contents
        return contents is not None and contents.stamps == files.stamps and contents.are_steady()


def circumstances(prepared: Prepared, location: str) -> Mapping[str, str]:
    """All that a measurement depends on besides the contents of the files, by name."""
    config, device = prepared.config, prepared.device
    known = {name: str(getattr(config, name)) for name in _SETTINGS}
    with suppress(importlib.metadata.PackageNotFoundError):
        known["peft"] = importlib.metadata.version("peft")
    return known | {
        "location": location,
        "versions": " ".join(versions()),
        "code": source_digest(Path(classwire_server.__file__).parent),
        "processor": "\n".join(processor()),
        "device": device,
        "lanes": str(prepared.division.lanes),
        "threads": str(prepared.division.threads),
        "calibration": _digest_of(config.calibration),
    }


def _digest_of(path: str) -> str:
    """SHA-256 of a file; empty for no file, or one that cannot be read."""
    try:
        return hashlib.sha256(Path(os.path.expanduser(path)).read_bytes()).hexdigest()
    except OSError:
        return ""

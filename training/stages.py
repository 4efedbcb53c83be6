"""Steps whose results can be kept between runs."""

import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

Outcome = TypeVar("Outcome")
Log = Callable[[str], None]


class Stages:
    """Runs named steps and measures their seconds; with a folder, it reuses results stored there.

    A reused result counts with its original seconds. Empty the folder after changing a step.
    """

    def __init__(self, folder: Path | None, log: Log) -> None:
        """With `folder` None, it keeps no results."""
        self.seconds: dict[str, float] = {}
        self._folder = folder
        self._log = log

    def run(self, name: str, step: Callable[[], Outcome]) -> Outcome:
        """Return `step()`, or its kept result."""
        file = self._folder / f"{name}.pickle" if self._folder else None
        if file and file.exists():
            self.seconds[name], kept = pickle.loads(file.read_bytes())
            self._log(f"{name}: kept from an earlier run, which took {self.seconds[name]:.0f} s")
            return cast(Outcome, kept)
        started = time.monotonic()
        outcome = step()
        self.seconds[name] = time.monotonic() - started
        self._log(f"{name}: {self.seconds[name]:.0f} s")
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(pickle.dumps((self.seconds[name], outcome)))
        return outcome

"""What a runner says of the vectors, and whether it said all."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .languages import RUN_S, call

NOTHING_RAN = 2
"""What a runner ends with when it has run no vector."""
_GROUP = re.compile(r"group (\S+): (\d+) passed, (\d+) failed(?:, (\d+) skipped)?")
_FAIL = re.compile(r"FAIL (\S+/.*?): ")


@dataclass(frozen=True)
class Run:
    """What came of one run: for each group how many passed, and the lines of what failed.

    `defects` are what a runner does wrong itself, whatever came of the vectors.
    """

    passed: Mapping[str, int]
    failures: Sequence[str]
    defects: Sequence[str]

    @property
    def names(self) -> set[str]:
        """The vectors that failed, as `group/name`."""
        return {match[1] for line in self.failures if (match := _FAIL.match(line))}


def run(
    runner: Path,
    built: Path,
    vectors: Path,
    document: Mapping[str, Any],
    targets: Mapping[str, str],
    log: Path,
) -> Run:
    """Run all vectors of a document, which is that of the file."""
    servers = [f"{name}={target}" for name, target in targets.items()]
    done = call([str(runner / "run"), str(built), str(vectors), *servers], RUN_S, log)
    return judged(done.stdout, done.returncode, document, targets)


def defects_without_servers(runner: Path, built: Path, vectors: Path, log: Path) -> list[str]:
    """What a runner does wrong when no server is named: it must not pass for one that ran all."""
    done = call([str(runner / "run"), str(built), str(vectors)], RUN_S, log)
    if done.returncode == NOTHING_RAN:
        return []
    return [f"with no server named it ended with {done.returncode}, not {NOTHING_RAN}"]


def judged(
    output: str, exit_code: int, document: Mapping[str, Any], targets: Collection[str]
) -> Run:
    """What the lines of a runner come to; a vector of which it says nothing has not passed."""
    lines = output.splitlines()
    failures = [line for line in lines if line.startswith("FAIL ")]
    said = {match[1]: match for line in lines if (match := _GROUP.fullmatch(line))}
    passed, defects = {}, []
    for group in document["groups"]:
        name, count = group["name"], len(group["vectors"])
        if group["server"] not in targets:
            continue
        match = said.get(name)
        passed[name] = int(match[2]) if match else 0
        failed = int(match[3]) if match else 0
        if passed[name] + failed != count:
            defects.append(f"{name}: of {count} vectors it ran {passed[name] + failed}")
    if exit_code != bool(failures):
        defects.append(f"it ended with {exit_code}")
    return Run(passed, failures, defects)

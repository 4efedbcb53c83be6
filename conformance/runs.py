"""Runs a runner and parses its output, and checks that it covers all vectors."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .languages import RUN_S, call

NOTHING_RAN = 2
"""Exit code of a runner that has run no vector."""
_GROUP = re.compile(r"group (\S+): (\d+) passed, (\d+) failed(?:, (\d+) skipped)?")
_FAIL = re.compile(r"FAIL (\S+/.*?): ")


@dataclass(frozen=True)
class Run:
    """The results of one run: passed vectors by group, and the lines of failures.

    `defects` are the runner's own faults, independent of the vectors' results.
    """

    passed: Mapping[str, int]
    failures: Sequence[str]
    defects: Sequence[str]

    @property
    def names(self) -> set[str]:
        """The failed vectors, as `group/name`."""
        return {match[1] for line in self.failures if (match := _FAIL.match(line))}


def run(
    runner: Path,
    built: Path,
    vectors: Path,
    document: Mapping[str, Any],
    targets: Mapping[str, str],
    log: Path,
) -> Run:
    """Run all vectors of a file; `document` is its content."""
    servers = [f"{name}={target}" for name, target in targets.items()]
    done = call([str(runner / "run"), str(built), str(vectors), *servers], RUN_S, log)
    return judged(done.stdout, done.returncode, document, targets)


def defects_without_servers(runner: Path, built: Path, vectors: Path, log: Path) -> list[str]:
    """Return a runner's defects without servers: it must exit with NOTHING_RAN."""
    done = call([str(runner / "run"), str(built), str(vectors)], RUN_S, log)
    if done.returncode == NOTHING_RAN:
        return []
    return [f"without a server it exited with {done.returncode}, not {NOTHING_RAN}"]


def judged(
    output: str, exit_code: int, document: Mapping[str, Any], targets: Collection[str]
) -> Run:
    """Parse a runner's output; a vector that it does not report has not passed."""
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
        defects.append(f"it exited with {exit_code}")
    return Run(passed, failures, defects)

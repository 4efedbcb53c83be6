"""Runs one language: vectors, corrupted vectors and examples."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.progress import Say

from .corruption import corrupted
from .examples import Examples
from .languages import VECTORS, CannotRun, Language
from .report import Column
from .runs import defects_without_servers, run
from .versions import versions

CORRUPTED, EXAMPLES = "corrupted", "examples"
ROWS_BESIDE_GROUPS = (CORRUPTED, EXAMPLES)


class Trial:
    """Runs languages against running servers.

    `targets` are their addresses by name. `tls` is the address of a server with TLS, and the file
    of its certificate authority. Builds go into the folder `work`.
    """

    def __init__(
        self,
        document: Mapping[str, Any],
        targets: Mapping[str, str],
        tls: tuple[str, str],
        work: Path,
        say: Say,
        *,
        install: bool,
    ) -> None:
        self._document = document
        self._targets = targets
        self._tls = tls
        self._work = work
        self._say = say
        self._install = install

    def column(self, name: str) -> Column:
        """Run a language and return its results."""
        language, column = Language(name), Column(name)
        self._log(language).write_text("", "utf-8")
        try:
            language.prepare(lambda line: self._say(f"{name}: {line}"), install=self._install)
            self._run_vectors(language, column)
            self._run_examples(language, column)
        except CannotRun as problem:
            column.not_run = str(problem)
            if problem.is_defect:
                column.defects.append(str(problem))
            self._say(f"{name}: not run: {problem}")
        return column

    def _run_vectors(self, language: Language, column: Column) -> None:
        built = self._work / language.name
        self._say(f"{language.name}: building")
        log = self._log(language)
        language.build(language.runner, built, log)
        found = run(language.runner, built, VECTORS, self._document, self._targets, log)
        for group in self._document["groups"]:
            passed = found.passed[group["name"]]
            column.add(group["name"], passed, len(group["vectors"]) - passed)
        defects = defects_without_servers(language.runner, built, VECTORS, log)
        self._report(column, "vectors", found.failures, [*found.defects, *defects])

        document, wrong = corrupted(self._document)
        file = self._work / "corrupted.json"
        file.write_text(json.dumps(document), "utf-8")
        serving = {"serving": self._targets["serving"]}
        found = run(language.runner, built, file, document, serving, log)
        mistaken = sorted(wrong ^ found.names)
        column.versions = versions(language)
        column.add(CORRUPTED, len(wrong & found.names), len(mistaken))
        failures = [
            f"FAIL {CORRUPTED}/{name}: not reported, or reported wrongly" for name in mistaken
        ]
        self._report(column, CORRUPTED, failures, found.defects)

    def _run_examples(self, language: Language, column: Column) -> None:
        built = self._work / "examples" / language.name
        log = self._log(language)
        language.build(language.examples, built, log)
        failures: list[str] = []
        for server in ((self._targets["serving"], ""), self._tls):
            examples = Examples(language, built, log, *server)
            examples.check(self._document)
            column.add(EXAMPLES, examples.passed, len(examples.failures))
            failures += examples.failures
        self._report(column, EXAMPLES, failures)

    def _log(self, language: Language) -> Path:
        return self._work / f"{language.name}.log"

    def _report(
        self, column: Column, what: str, failures: Sequence[str], defects: Sequence[str] = ()
    ) -> None:
        column.failures += failures
        column.defects += defects
        for line in (*failures, *defects):
            self._say(f"{column.language}: {line}")
        if not (failures or defects):
            self._say(f"{column.language}: {what}: passed")

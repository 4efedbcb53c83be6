"""Run the example programs and compare their output with direct use of transformers."""

import itertools
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .languages import Language, call

RUN_S = 60
BAD_TEXT, ITS_REASON = " ", "EMPTY_TEXT"
WINDOWS = "a review"
"""The vector of the text that examples read in windows."""
REJECTED = "no output, and the reason on standard error"
DIGITS = 4
LEAST_DISTANCE = 0.1
"""Least distance of the remaining digits from one half: closer ones may round either way."""


def answers(document: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return single-line texts with label and score as examples print them.

    The texts are those of the group `classify` for the default model.
    """
    [vectors] = [group["vectors"] for group in document["groups"] if group["name"] == "classify"]
    found = {}
    for vector in vectors:
        text = vector["request"]["input"]["text"]
        if "model" in vector["request"] or not text.isprintable() or text != text.strip():
            continue
        best = vector["expect"]["response"]["result"]["scores"][0]
        if _rounds_one_way(best["score"]):
            found[text] = (best["label"], f"{best['score']:.{DIGITS}f}")
    return found


def windows(document: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return a text that is read in windows, and the lines that examples print for it.

    Raises ValueError if a score may round either way.
    """
    [vector] = [
        vector
        for group in document["groups"]
        for vector in group["vectors"]
        if vector["name"] == WINDOWS
    ]
    text = vector["request"]["input"]["text"]
    result = vector["expect"]["response"]["result"]
    best = result["scores"][0]
    labels = {score.get("labelId", 0): score["label"] for score in result["scores"]}
    entries: list[tuple[Any, ...]] = [(best["label"], best["score"])]
    for window in result["windows"]:
        score = max(window["scores"])
        part = text[window.get("start", 0) : window["end"]]
        entries.append((labels[window["scores"].index(score)], score, part))
    if not all(_rounds_one_way(score) for _, score, *_ in entries):
        raise ValueError(f"a score of {WINDOWS!r} may round either way")
    return text, [
        "\t".join((label, f"{score:.{DIGITS}f}", *part)) for label, score, *part in entries
    ]


def _rounds_one_way(score: float) -> bool:
    return bool(abs(score * 10**DIGITS % 1 - 0.5) > LEAST_DISTANCE)


class Examples:
    """The programs of one language, built into a folder, and a server with the default model.

    `ca` is the file of the server's certificate authority if it uses TLS, else empty. `failures`
    collects mismatches, `passed` counts matches.
    """

    def __init__(
        self, language: Language, built: Path, log: Path, target: str, ca: str = ""
    ) -> None:
        self.passed = 0
        self.failures: list[str] = []
        self._program = [str(language.examples / "run"), str(built)]
        self._log = log
        self._target = target
        self._ca = [ca] if ca else []

    def check(self, document: Mapping[str, Any]) -> None:
        """Classify one text, an invalid one, and a stream of all; read a text in windows."""
        known = answers(document)
        text, (label, score) = next(iter(known.items()))
        done = self._call("classify", text)
        self._compare("classify", f"{label} {score}", done.stdout.strip())

        done = self._call("classify", BAD_TEXT)
        is_rejected = done.returncode and done.stderr and not done.stdout
        self._compare("classify a bad text", REJECTED, REJECTED if is_rejected else done.stdout)

        texts = [*known, BAD_TEXT, *known]
        lines = ["\t".join((str(n), *known.get(t, (ITS_REASON,)))) for n, t in enumerate(texts, 1)]
        done = self._call("stream", input="".join(f"{text}\n" for text in texts))
        self._compare("stream", sorted(lines), sorted(done.stdout.splitlines()))

        text, lines = windows(document)
        self._compare("windows", lines, self._call("windows", text).stdout.splitlines())

    def _call(self, program: str, *texts: str, input: str = "") -> subprocess.CompletedProcess[str]:
        command = [*self._program, program, self._target, *texts, *self._ca]
        return call(command, RUN_S, self._log, input)

    def _compare(self, what: str, expected: Any, got: Any) -> None:
        if expected == got:
            self.passed += 1
            return
        if isinstance(expected, list):  # a stream's lines: report the first difference
            pairs = itertools.zip_longest(expected, got)
            expected, got = next((one, other) for one, other in pairs if one != other)
        how = " with TLS" if self._ca else ""
        self.failures.append(f"FAIL examples/{what}{how}: expected {expected!r}, got {got!r}")

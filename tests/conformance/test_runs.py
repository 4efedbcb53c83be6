"""How the conformance command treats runners that fail, lie or can't run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from conformance import report
from conformance.__main__ import held
from conformance.corruption import corrupted
from conformance.examples import answers, windows
from conformance.languages import CannotRun, Language, missing_packages
from conformance.publication import NUMBER, PAGE, README, publish
from conformance.report import Column
from conformance.runs import judged

DOCUMENT: dict[str, Any] = {
    "groups": [
        {"name": "good", "server": "serving", "vectors": [{}, {}]},
        {"name": "other", "server": "faulty", "vectors": [{}]},
    ]
}
SKIPPED = "group other: 0 passed, 0 failed, 1 skipped\n"
SERVING = ("serving",)


def test_a_good_run() -> None:
    """A run is good when every vector of the servers that were there passed."""
    run = judged(f"group good: 2 passed, 0 failed\n{SKIPPED}", 0, DOCUMENT, SERVING)
    assert (run.passed, run.failures, run.defects) == ({"good": 2}, [], [])


def test_failures_are_known_by_name() -> None:
    """A vector's name may contain slashes, and ends at the first colon and space."""
    output = "FAIL good/a/b, c: error: expected x, got y\ngroup good: 1 passed, 1 failed\n"
    run = judged(output, 1, DOCUMENT, SERVING)
    assert run.names == {"good/a/b, c"}
    assert not run.defects


@pytest.mark.parametrize(
    ("output", "exit_code"),
    [
        ("", 0),
        ("", 1),
        ("group good: 1 passed, 0 failed\n", 0),
        ("group good: 0 passed, 0 failed, 2 skipped\n", 0),
        ("group good: 2 passed, 0 failed\n", 1),
        ("group good: 2 passed, 0 failed\n", -11),
        ("FAIL good/a: b\ngroup good: 1 passed, 1 failed\n", 0),
    ],
    ids=["prints nothing", "ends", "leaves one out", "skips", "fails", "crashes", "keeps it quiet"],
)
def test_omitted_vectors_have_not_passed(output: str, exit_code: int) -> None:
    """A runner that omits vectors, or whose exit code contradicts its output, is defective."""
    assert judged(output, exit_code, DOCUMENT, SERVING).defects


def test_corruption(vectors: Mapping[str, Any]) -> None:
    """Corruption changes one score and one reason, in a copy."""
    document, names = corrupted(vectors)
    changed = {
        f"{group['name']}/{vector['name']}"
        for group, other in zip(vectors["groups"], document["groups"], strict=True)
        for vector, its_copy in zip(group["vectors"], other["vectors"], strict=True)
        if vector != its_copy
    }
    assert changed == names
    assert len(names) == 2


def test_answers_of_examples(vectors: Mapping[str, Any]) -> None:
    """The answers of the examples are one text and its highest score a line, the README's first."""
    known = answers(vectors)
    text, (label, _) = next(iter(known.items()))
    assert (text, label) == ("I really love this book", "5 stars")
    assert len(known) > 16
    assert all(text.strip() == text and len(text.splitlines()) == 1 for text in known)


def test_windows_of_examples(vectors: Mapping[str, Any]) -> None:
    """The text that examples read in windows is one line with characters of several bytes, and its
    windows have several labels.
    """
    text, lines = windows(vectors)
    assert len(text.splitlines()) == 1
    assert not text.isascii()
    assert len(lines) > 3
    assert len({line.split("\t")[0] for line in lines}) > 2


def test_a_language_without_its_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A language without its packages can't run, which is no defect; the missing package is
    named.

    A command that is there replaces its package.
    """
    monkeypatch.setattr("conformance.languages.ROOT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    query = tmp_path / "dpkg-query"
    query.write_text('#!/bin/sh\n[ "$3" = there ] && printf "installed 1.0"\n')
    query.chmod(0o755)
    folder = tmp_path / "conformance" / "go"
    folder.mkdir(parents=True)
    (folder / "packages").write_text("there\nnot-there\nother dpkg-query\nthird no-such-command\n")

    with pytest.raises(CannotRun, match="missing: not-there, third") as problem:
        Language("go").prepare(print, install=False)

    assert not problem.value.is_defect
    assert missing_packages(folder) == ["not-there", "third"]


def test_a_build_that_fails(tmp_path: Path) -> None:
    """A failed build with all packages is a defect, and the log holds the reason."""
    build = tmp_path / "build"
    build.write_text("#!/bin/sh\necho no stubs >&2\nexit 3\n")
    build.chmod(0o755)

    with pytest.raises(CannotRun, match="build failed") as problem:
        Language("go").build(tmp_path, tmp_path / "into", tmp_path / "log")

    assert problem.value.is_defect
    assert "no stubs\n= 3" in (tmp_path / "log").read_text()


def columns() -> list[Column]:
    """Return one language that ran, and one that could not."""
    ran = Column("go", failures=["FAIL good/a: b"], versions="grpc 1.2")
    ran.add("good", 1, 1)
    ran.add("corrupted", 2, 0)
    return [ran, Column("ruby", not_run="packages are missing: ruby")]


def test_table() -> None:
    """The table shows failures, and no number for vectors that did not run."""
    lines = report.table(columns(), ["good", "corrupted"])
    assert lines == [
        ["", "go", "ruby"],
        ["good", "1 of 2", "not run"],
        ["corrupted", "2", "not run"],
    ]
    assert report.text_table(lines).splitlines()[1] == "good       1 of 2  not run"
    assert report.total(columns()) == (3, 1)


def test_the_readme_names_the_number_of_vectors(vectors: Mapping[str, Any]) -> None:
    """README.md has the number of vectors in vectors.json, as `--publish` writes it."""
    number = sum(len(group["vectors"]) for group in vectors["groups"])
    assert NUMBER.findall(README.read_text("utf-8")) == [str(number)]


def test_publication(
    vectors: Mapping[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's table holds the results, their day and machine, and what was left out; the README
    gets the number of vectors.
    """
    page, results = tmp_path / "page.md", tmp_path / "results.json"
    page.write_text(PAGE.read_text("utf-8"), "utf-8")
    monkeypatch.setattr("conformance.publication.PAGE", page)
    readme = tmp_path / "README.md"
    readme.write_text("| 7 test vectors made with it pass in each of six languages |", "utf-8")
    monkeypatch.setattr("conformance.publication.README", readme)
    machine = {"cores": 2, "processor": "Some processor"}
    about = {"taken_at": "2026-01-02", "machine": machine, "rows": ["good", "corrupted"]}
    report.write(columns(), about, results)

    publish(results)

    text = page.read_text("utf-8")
    assert "2026-01-02, 2 cores of Some processor" in text
    assert "| good | 1 of 2 | not run |" in text
    assert "| go | grpc 1.2 |" in text
    assert "not run: ruby, packages are missing: ruby." in text
    number = sum(len(group["vectors"]) for group in vectors["groups"])
    assert readme.read_text("utf-8").startswith(f"| {number} test vectors made")


def test_one_run_at_a_time(tmp_path: Path) -> None:
    """A run that another's folder would be pulled from under ends at once, and says why."""
    with held(tmp_path), pytest.raises(SystemExit, match="another run uses"), held(tmp_path):
        pass
    with held(tmp_path):
        pass

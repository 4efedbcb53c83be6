"""The notebook that trains and serves a classifier runs as it is shown, and leaves no server."""

import re
import shutil
from pathlib import Path

import nbformat
import pytest

from classwire import Client, UnavailableError
from tests.notebook.outputs import FOLDER, NUMBER, RUN_S, assert_alike, outputs, rerun

FILE = FOLDER / "from_your_data.ipynb"
HINT = "run: python -m scripts.notebook examples/notebook/from_your_data.ipynb"


def first_words(shown: str) -> set[str]:
    """Return what does not depend on the speed of the machine: the first words of the lines."""
    return {line.split()[0] for line in shown.splitlines() if line}


@pytest.mark.timeout(RUN_S + 10)
def test_the_notebook_shows_what_it_shows_when_it_runs(tmp_path: Path) -> None:
    """Every cell shows what is stored in the notebook, up to the last digits of what it measures;
    the checkpoint is right more often than the most frequent label, and int8 keeps its labels.
    """
    ran = rerun(FILE, tmp_path / "run.ipynb")
    assert ran.returncode == 0, ran.stderr
    before, now = outputs(FILE), outputs(tmp_path / "run.ipynb")
    assert [*before] == [*now], HINT
    assert first_words(before.pop("top")) == first_words(now.pop("top")), HINT
    for cell, shown in now.items():
        assert_alike(before[cell], shown, within=0.1 if "0." in shown else 6)
    right, most_frequent = map(int, NUMBER.findall(now["accuracy-code"])[-2:])
    assert right > 1.3 * most_frequent
    same, texts = map(int, re.findall(r"same label: (\d+) of (\d+)", now["int8"])[0])
    assert same >= 0.95 * texts


@pytest.mark.parametrize(
    ("failing", "complaint"),
    [("1 / 0", "ZeroDivisionError"), ("import warnings; warnings.warn('old')", "UserWarning")],
)
def test_a_cell_that_fails_leaves_no_server(
    failing: str, complaint: str, embedded_folder: Path, tmp_path: Path
) -> None:
    """An error or a warning in a cell ends the run with that error, and the server ends too."""
    notebook = nbformat.read(FILE, as_version=4)  # type: ignore[no-untyped-call]
    notebook.cells = [cell for cell in notebook.cells if cell.id == "serve"]
    told = tmp_path / "told"
    source = f"open({str(told)!r}, 'w').write(target)\n{failing}"
    notebook.cells.append(nbformat.v4.new_code_cell(source))  # type: ignore[no-untyped-call]
    work = tmp_path / "work"
    shutil.copytree(embedded_folder, work / "my-classifier")
    nbformat.write(notebook, work / "short.ipynb")  # type: ignore[no-untyped-call]

    ran = rerun(work / "short.ipynb", tmp_path / "run.ipynb")

    assert ran.returncode != 0
    assert complaint in ran.stderr
    with Client(told.read_text(), retry=False) as client, pytest.raises(UnavailableError):
        client.health()

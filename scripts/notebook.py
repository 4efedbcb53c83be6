"""Run all cells of examples/reference_job.ipynb and store their outputs.

Drops warnings and logs: they differ from machine to machine.

python -m scripts.notebook [OUTPUT]
"""

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from .pages import ROOT

FILE = ROOT / "examples" / "reference_job.ipynb"
CELL_TIMEOUT_S = 100


def main() -> None:
    """Run the notebook in this interpreter and write it; raises CellExecutionError."""
    notebook = nbformat.read(FILE, as_version=4)  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as folder:
        # Sockets in a folder instead of ports; no kernel except this interpreter's.
        manager = AsyncKernelManager(
            transport="ipc",
            connection_file=str(Path(folder) / "kernel.json"),
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
        )
        client = NotebookClient(notebook, km=manager, timeout=CELL_TIMEOUT_S, record_timing=False)
        client.execute(cwd=str(FILE.parent), env=os.environ | {"IPYTHONDIR": folder})
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata.language_info = {"name": "python"}
    output = sys.argv[1] if sys.argv[1:] else FILE
    nbformat.write(notebook, output)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()

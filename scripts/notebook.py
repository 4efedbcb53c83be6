"""Run all cells of a notebook and store their outputs.

The cells run in a copy of the notebook's folder, without the hub. A warning that they cause is an
error. Servers and other processes that they start end with the run, also after an error.

python -m scripts.notebook NOTEBOOK [OUTPUT]
"""

import argparse
import asyncio
import os
import re
import shutil
import tempfile
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError

TIMEOUT_S = 270
"""Longest run of all cells."""
STARTUP = "import warnings\nwarnings.filterwarnings('error', module='__main__')\n"
MASKED = {
    re.compile(r"\x1b\[[\d;]*m"): "",
    re.compile(r"\b127\.0\.0\.1:\d+"): "127.0.0.1:9464",
    re.compile(r"\bup \d+ s  \d\d:\d\d:\d\d\b"): "up 30 s  12:00:00",
}
"""Colours, and what differs at each run: ports, and the clock of `classwire top`."""


async def run(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Run the cells in this interpreter with a copy of `folder` as working directory.

    Stores the outputs in `notebook`. Raises CellExecutionError, and TimeoutError after
    `TIMEOUT_S`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        work = shutil.copytree(folder, Path(scratch, "work"))
        startup = Path(scratch, "profile_default", "startup", "warnings.py")
        startup.parent.mkdir(parents=True)
        startup.write_text(STARTUP)
        # Sockets in a folder instead of ports; no kernel except this interpreter's.
        manager = AsyncKernelManager(
            transport="ipc",
            connection_file=str(Path(scratch, "kernel.json")),
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
        )
        environment = os.environ | {
            "CLASSWIRE_COMPILE_CACHE": str(Path(scratch, "cache")),
            "HF_HUB_OFFLINE": "1",
            "IPYTHONDIR": scratch,
            # Sums of the training in the same order on every machine; no waits on busy cores.
            "OMP_NUM_THREADS": "1",
        }
        client = NotebookClient(
            notebook, km=manager, timeout=None, record_timing=False, coalesce_streams=True
        )
        try:
            async with asyncio.timeout(TIMEOUT_S) as limit:
                # Without cleanup_kc the kernel ends when this process has, and leaves its servers.
                await client.async_execute(cleanup_kc=True, cwd=str(work), env=environment)
        except DeadKernelError:
            if limit.expired():
                raise TimeoutError(f"the notebook did not end within {TIMEOUT_S} s") from None
            raise


def clean(notebook: nbformat.NotebookNode) -> None:
    """Drop warnings and logs, which differ from machine to machine, and mask outputs."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                for pattern, shown in MASKED.items():
                    if "text" in output:
                        output.text = pattern.sub(shown, output.text)
    notebook.metadata.language_info = {"name": "python"}


def main() -> None:
    """Run the notebook and write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("output", type=Path, nargs="?", help="default: the notebook itself")
    given = parser.parse_args()
    notebook = nbformat.read(given.notebook, as_version=4)  # type: ignore[no-untyped-call]
    asyncio.run(run(notebook, given.notebook.parent))
    clean(notebook)
    nbformat.write(notebook, given.output or given.notebook)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()

"""The C++ compiler that torch calls. Finding it needs no torch, which takes long to import."""

import os
import subprocess
import sys

from classwire_server.errors import CompileError


def check_compiler() -> str:
    """The name and version of the C++ compiler, in one line.

    Raises CompileError if there is none, before any long work.
    """
    # As torch chooses it.
    name = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    try:
        said = subprocess.run([name, "--version"], capture_output=True, text=True, check=True)
        return said.stdout.partition("\n")[0]
    except (OSError, subprocess.CalledProcessError):
        raise CompileError(
            f"there is no C++ compiler ({name}); install one, or bring a cache that "
            "`classwire compile` has filled on the same kind of machine"
        ) from None

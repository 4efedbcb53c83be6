"""Prints the lowest version of each dependency of a distribution as constraints for pip.

The first argument is the path of its pyproject.toml. Further arguments select dependencies; without
them, all are printed.
"""

import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement


def lowest(line: str) -> str:
    """Returns a requirement pinned to its lower bound, or to its only version; it must have one."""
    requirement = Requirement(line)
    (version,) = (part.version for part in requirement.specifier if part.operator in (">=", "=="))
    return f"{requirement.name}=={version}"


if __name__ == "__main__":
    project = tomllib.loads(Path(sys.argv[1]).read_text())["project"]
    names = sys.argv[2:]
    print(
        "\n".join(
            lowest(line)
            for line in project["dependencies"]
            if not names or Requirement(line).name in names
        )
    )

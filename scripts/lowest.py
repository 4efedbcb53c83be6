"""Prints the lowest version of each dependency of a distribution as constraints for pip.

    python scripts/lowest.py PYPROJECT [--extra EXTRA] [NAME ...]

Names select dependencies; without them, all are printed. With --extra, those of that extra too.
"""

import argparse
import tomllib
from pathlib import Path

from packaging.requirements import Requirement


def lowest(line: str) -> str:
    """Returns a requirement pinned to its lower bound, or to its only version; it must have one."""
    requirement = Requirement(line)
    (version,) = (part.version for part in requirement.specifier if part.operator in (">=", "=="))
    return f"{requirement.name}=={version}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("pyproject", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--extra")
    given = parser.parse_args()
    project = tomllib.loads(given.pyproject.read_text())["project"]
    further = project["optional-dependencies"][given.extra] if given.extra else []
    print(
        "\n".join(
            lowest(line)
            for line in [*project["dependencies"], *further]
            if not given.names or Requirement(line).name in given.names
        )
    )

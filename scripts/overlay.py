"""Create an environment on top of this one, which has packages of its own too.

    python -m scripts.overlay FOLDER

Its own packages win over those of this environment, which it sees but never changes.
"""

import sys
import sysconfig
import venv
from pathlib import Path


def main() -> None:
    """Create the environment anew."""
    folder = Path(sys.argv[1])
    venv.create(folder, clear=True, with_pip=True, symlinks=True)
    own = sysconfig.get_path("purelib", vars={"base": str(folder.absolute())})
    below = sysconfig.get_path("purelib")
    line = f"import site; site.addsitedir({below!r})\n"
    (Path(own) / "below.pth").write_text(line, encoding="utf-8")


if __name__ == "__main__":
    main()

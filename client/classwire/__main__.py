"""The `classwire` command, also as `python -m classwire`."""

import sys


def main() -> int:
    """Run the command line, and return its exit code. Ctrl-C during the imports is one line too."""
    try:
        from .cli import main as run

        return run()
    except KeyboardInterrupt:
        sys.stderr.write("classwire: interrupted\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())

"""Put the last line of `make test`, with date and machine, into the README.

python -m scripts.readme
"""

import subprocess
from datetime import UTC, datetime

from benchmarks.machine import in_words, machine

from .pages import ROOT, between

README = ROOT / "README.md"
TIMEOUT_S = 900
SHOWN_LINES = 50
"""Lines shown of a failed command's output."""
MARKERS = ("<!-- test: begin -->", "<!-- test: end -->")


def output_of(command: list[str]) -> str:
    """Return what a command prints to a pipe.

    Exits with its last lines if the command fails or does not end within TIMEOUT_S.
    """
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=TIMEOUT_S)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as problem:
        lines = (problem.output or b"").decode(errors="replace").splitlines()
        raise SystemExit("\n".join([*lines[-SHOWN_LINES:], str(problem)])) from None
    return done.stdout.decode()


def shown(output: str) -> str:
    """Return the part of `make test`'s output that the README shows."""
    last = output.splitlines()[-1]
    return dated(f"```\n{last}\n```")


def dated(block: str) -> str:
    """Return a block of the README, and below it the day and the machine of its run."""
    return f"{block}\n\n{datetime.now(UTC).date()}, {in_words(machine())}."


def main() -> None:
    """Run the tests and replace the block."""
    output = output_of(["make", "--silent", "test"])
    page = README.read_text(encoding="utf-8")
    README.write_text(between(page, *MARKERS, shown(output)), encoding="utf-8")


if __name__ == "__main__":
    main()

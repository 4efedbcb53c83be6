"""Put the output of `make demo`, and the last line of that of `make test`, into the README.

The line is followed by its day and machine.

python -m scripts.readme demo test
"""

import re
import subprocess
import sys
from datetime import UTC, datetime

from benchmarks.machine import in_words, machine

from .pages import ROOT, between

README = ROOT / "README.md"
TIMEOUT_S = 900
SHOWN_LINES = 50
"""Of a command that fails."""


def block(name: str) -> str:
    """The output that the README shows between the markers of this name."""
    begin, end = _markers(name)
    found = re.search(
        rf"{begin}\s*```\n(.*?)```\s*{end}", README.read_text(encoding="utf-8"), re.DOTALL
    )
    if found is None:
        raise SystemExit(f"README.md has no block {name!r}")
    return found[1]


def layout(output: str) -> str:
    """The output without what differs from run to run: ports, times and rates."""
    output = re.sub(r"127\.0\.0\.1:\d+", "ADDRESS", output)
    return re.sub(
        r"[\d.,]+(?= (?:s|ms|texts/s)\b)|(?:(?<=tokenize )|(?<=queue )|(?<=model ))[\d.]+",
        "N",
        output,
    )


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def output_of(command: list[str]) -> str:
    """What a command prints in a shell's own width, without a terminal: what a pipe would get.

    Exits with the last lines of it where the command fails.
    """
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=TIMEOUT_S)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as problem:
        lines = (problem.output or b"").decode(errors="replace").splitlines()
        raise SystemExit("\n".join([*lines[-SHOWN_LINES:], str(problem)])) from None
    return done.stdout.decode()


def shown(target: str, output: str) -> str:
    """What the README shows of a target's output."""
    if target != "test":
        return f"```\n{output}```"
    last = output.splitlines()[-1]
    return f"```\n{last}\n```\n\n{datetime.now(UTC).date()}, {in_words(machine())}."


def main() -> None:
    """Run the targets named and replace their blocks."""
    for target in sys.argv[1:]:
        print(f"make {target} ...", file=sys.stderr)
        output = output_of(["make", "--silent", target])
        page = README.read_text(encoding="utf-8")
        body = shown(target, output)
        README.write_text(between(page, *_markers(target), body), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Put the output of `make demo`, and the last line of that of `make test`, into the README.

python scripts/readme.py demo test
"""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def block(name: str) -> str:
    """The output that the README shows between the markers of this name."""
    return _find(name)["output"]


def layout(output: str) -> str:
    """The output without what differs from run to run: ports, times and rates."""
    output = re.sub(r"127\.0\.0\.1:\d+", "ADDRESS", output)
    return re.sub(
        r"[\d.,]+(?= (?:s|ms|texts/s)\b)|(?:(?<=tokenize )|(?<=queue )|(?<=model ))[\d.]+",
        "N",
        output,
    )


def _find(name: str) -> re.Match[str]:
    found = re.search(
        rf"<!-- {name}: begin -->\n```\n(?P<output>.*?)```\n<!-- {name}: end -->",
        README.read_text(encoding="utf-8"),
        re.DOTALL,
    )
    if found is None:
        raise SystemExit(f"README.md has no block {name!r}")
    return found


def _run(target: str) -> str:
    # In a shell's own width, without a terminal: what a pipe would get.
    print(f"make {target} ...", file=sys.stderr)
    done = subprocess.run(
        ["make", "--silent", target], stdout=subprocess.PIPE, text=True, check=True, timeout=900
    )
    return done.stdout


def main() -> None:
    """Run the targets named and replace their blocks."""
    for target in sys.argv[1:]:
        output = _run(target)
        if target == "test":
            output = f"{output.splitlines()[-1]}\n"
        found = _find(target)
        start, end = found.span("output")
        README.write_text(found.string[:start] + output + found.string[end:], encoding="utf-8")


if __name__ == "__main__":
    main()

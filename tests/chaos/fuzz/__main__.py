"""Send a server malformed messages and frames: mutations of valid ones.

    python -m tests.chaos.fuzz [--messages N] [--frames N] [--seed N]

The same seed sends the same bytes. Progress goes to standard error, the counts to standard
output. Exits with 1 when the server crashed, hung or reported a defect of its own, or when the
messages did not reach all checks.
"""

import argparse
import faulthandler
import random
import sys
import tempfile
from pathlib import Path

from benchmarks.progress import progress

from .campaign import fuzz
from .tally import LEAST_PARSED


def main() -> None:
    """Run the campaign."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0], prog="python -m tests.chaos.fuzz"
    )
    parser.add_argument("--messages", type=int, default=250_000, help="minimum number")
    parser.add_argument("--frames", type=int, default=100_000, help="minimum number")
    parser.add_argument("--seed", type=int, help="random by default")
    arguments = parser.parse_args()
    seed = random.randrange(1 << 32) if arguments.seed is None else arguments.seed
    faulthandler.enable()
    say = progress()
    say(f"seed {seed}")
    with tempfile.TemporaryDirectory() as work:
        tally = fuzz(arguments.messages, arguments.frames, seed, Path(work), say)
    print(f"seed {seed}: {tally.messages.total():,} messages, {tally.frames.total():,} frames\n")
    print(tally.table())
    print(f"\n{tally.parsed_share:.1%} of the messages parse")
    if unreached := tally.unreached():
        print(f"never reached: {', '.join(unreached)}")
    for wrong in tally.wrongs:
        print(f"wrong: {wrong}")
    if tally.wrongs or unreached or tally.parsed_share < LEAST_PARSED:
        sys.exit(1)


if __name__ == "__main__":
    main()

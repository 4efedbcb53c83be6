"""`classwire serve`, which drains when the process that has started it says so, or ends.

    python -m classwire_server.cli.child DESCRIPTOR [OPTION ...]

DESCRIPTOR is the reading end of a pipe whose other end that process holds. The server drains when
that end is closed. The demo and the replicas of Ray start their servers this way.
"""

import os
import signal
import sys
import threading

from classwire.cli import main


def _drain_at_end_of(descriptor: int) -> None:
    os.read(descriptor, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_drain_at_end_of, args=(int(sys.argv[1]),), daemon=True).start()
    sys.exit(main(["serve", *sys.argv[2:]]))

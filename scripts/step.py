"""Run a command as a step of a longer job, and show its progress.

    python -m scripts.step "Installing the packages" COMMAND [ARGUMENT ...]

On a terminal, one line shows what it does, for how long, and the last line of the command's output.
Elsewhere there is a line at the start, one every LOG_EVERY_S, and one at the end. The output itself
is shown only if the command fails. Runs before anything is installed, so it needs Python alone.
"""

import shutil
import subprocess
import sys
import threading
import time
from collections import deque

DRAW_EVERY_S, LOG_EVERY_S = 0.2, 30.0
SHOWN_LINES = 100
"""Last lines of the output of a command that failed."""
INTERRUPTED = 130
"""Exit code of Ctrl-C, as shells count it."""
_CLEAR = "\r\x1b[2K"


class Step:
    """What a command does, for how long, and what it said last."""

    def __init__(self, what: str) -> None:
        self.lines: deque[str] = deque(maxlen=SHOWN_LINES)
        self._what = what
        self._started_s = time.monotonic()

    def run(self, command: list[str]) -> int:
        """Run the command, and return its exit code."""
        is_terminal = sys.stdout.isatty()
        if not is_terminal:
            print(f"{self._what} ...", flush=True)
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        reader.start()
        try:
            while reader.is_alive():
                if is_terminal:
                    print(f"{_CLEAR}{self._progress()}", end="", flush=True)
                reader.join(DRAW_EVERY_S if is_terminal else LOG_EVERY_S)
                if reader.is_alive() and not is_terminal:
                    print(self._progress(), flush=True)
            code = process.wait()
        except KeyboardInterrupt:  # the command got it too
            process.wait()
            code = INTERRUPTED
        ended = f"failed with exit code {code}" if code else "done"
        clear = _CLEAR if is_terminal else ""
        print(f"{clear}{self._what}: {ended}, {self._elapsed_s():.1f} s", flush=True)
        return code

    def _read(self, process: "subprocess.Popen[str]") -> None:
        for line in process.stdout or ():
            if line := line.strip():
                self.lines.append(line)

    def _progress(self) -> str:
        last = self.lines[-1] if self.lines else ""
        line = f"{self._what}, {self._elapsed_s():.0f} s ... {last}"
        return line[: shutil.get_terminal_size().columns - 1]

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._started_s


def main() -> int:
    """Run the command of the arguments, and return its exit code."""
    step = Step(sys.argv[1])
    code = step.run(sys.argv[2:])
    if code not in (0, INTERRUPTED):
        print("\n".join(step.lines), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())

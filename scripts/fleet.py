"""Two replicas of the embedded checkpoint behind Envoy, and the page of examples/browser.

    python -m scripts.fleet [--replicas N] [--port PORT]

Prints how to call them by gRPC, by curl and from a browser, and stops all of them on Ctrl-C or
SIGTERM.
"""

import argparse
import functools
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

from scripts.envoy import LOOPBACK, Envoy, Settings

PAGE = Path(__file__).parents[1] / "examples" / "browser"
SHIPPED_ORIGIN = "https://pages.example"
"""The origin in deploy/envoy/routes.yaml whose pages may call."""
PORT = 8443
TEXT = "I really love this book"


def main() -> None:
    """Run the fleet until a signal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--replicas", type=int, default=2, help="how many servers (2)")
    parser.add_argument("--port", type=int, default=PORT, help=f"Envoy's port ({PORT}); 0: any")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        with ExitStack() as ends:
            print(f"Starting {arguments.replicas} replicas and Envoy ...", flush=True)
            targets = ends.enter_context(replicas(arguments.replicas))
            origin = ends.enter_context(page())
            folder = Path(ends.enter_context(tempfile.TemporaryDirectory()))
            settings = Settings(port=arguments.port, edits={SHIPPED_ORIGIN: origin})
            envoy = ends.enter_context(Envoy(folder, targets, settings))
            print(advice(envoy.target, origin, targets), flush=True)
            signal.pause()
    except KeyboardInterrupt:
        print("\nAll have stopped.")


def advice(target: str, origin: str, targets: Sequence[str]) -> str:
    """Return how to call the fleet."""
    command = Path(sys.executable).with_name("classwire")
    body = f'{{"input": {{"text": "{TEXT}"}}}}'
    return (
        f"Envoy listens on {target}; its replicas are {', '.join(targets)}.\n\n"
        f"  gRPC     {command} classify --target {target} '{TEXT}'\n"
        f"  curl     curl http://{target}/classwire.v1.ClassifyService/Classify -d '{body}'\n"
        f"  browser  {origin}/?server={quote(f'http://{target}', safe='')}\n\n"
        "Ctrl-C stops all of them."
    )


@contextmanager
def replicas(count: int) -> Iterator[list[str]]:
    """Start servers, and yield their addresses once all of them serve; stop them at the end.

    Raises RuntimeError if one does not start; its reason is on standard error.
    """
    command = [sys.executable, "-m", "classwire", "serve", "--port", "0", "--log-level", "warning"]
    with ExitStack() as ends:
        started = [
            ends.enter_context(_ended(subprocess.Popen(
                command, stdout=subprocess.PIPE, start_new_session=True, text=True
            )))
            for _ in range(count)
        ]  # fmt: skip
        yield [_target(process) for process in started]


@contextmanager
def page() -> Iterator[str]:
    """Serve the page of examples/browser, and yield its origin."""
    handler = functools.partial(_Quiet, directory=str(PAGE))
    with ThreadingHTTPServer((LOOPBACK, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://{LOOPBACK}:{server.server_port}"
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing."""


@contextmanager
def _ended(process: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    """Drain a server at the end."""
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _target(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    target = ""
    for line in process.stdout:
        if line.startswith("listening on "):
            target = line.split()[-1]
        if line == "serving\n":
            return target
    raise RuntimeError("a replica did not start")


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()

"""Run an image's files as a container with bubblewrap: its user, variables, a read-only root."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

PATIENCE_S = 180.0


@dataclass(frozen=True)
class Ended:
    """A finished program's exit code and output."""

    code: int
    output: str
    errors: str


class Image:
    """An image's files and configuration; entering the context mounts the files at `root`.

    `config` is Docker's: Entrypoint, Cmd, Env, User, Volumes, WorkingDir, Healthcheck, StopSignal.
    """

    def __init__(self, mounted: Path, root: Path, config: dict[str, Any]) -> None:
        self._mounted = mounted
        self.root = root
        self.config = config

    def __enter__(self) -> Self:
        self.root.mkdir()
        subprocess.run(["mount", "--bind", str(self._mounted), str(self.root)], check=True)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", str(self.root)], check=True)

    @property
    def probe(self) -> list[str]:
        """The command of the image's health check."""
        kind, *command = self.config["Healthcheck"]["Test"]
        assert kind == "CMD", "the health check needs a shell"
        return list(command)

    @property
    def user(self) -> tuple[str, str]:
        """The numeric ids of the image's user and group."""
        user, group = self.config["User"].split(":")
        return user, group


class Container:
    """The image's entry point, running with arguments. For one thread.

    `mounts` maps folders of this machine to read-only mount points in the container.
    """

    def __init__(
        self,
        image: Image,
        work: Path,
        arguments: Sequence[str],
        mounts: Mapping[Path, str] = MappingProxyType({}),
    ) -> None:
        self._image = image
        self._errors = work / "errors.txt"
        reads, writes = os.pipe()
        user, group = image.user
        command = [
            *("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"),
            *("--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"),
            *("bwrap", "--ro-bind", str(image.root), "/", "--proc", "/proc", "--dev", "/dev"),
            *("--tmpfs", "/tmp", "--tmpfs", "/var/cache/classwire"),
            *(word for path, seen in mounts.items() for word in ("--ro-bind", str(path), seen)),
            *("--unshare-all", "--as-pid-1", "--die-with-parent", "--cap-drop", "ALL"),
            *("--chdir", image.config["WorkingDir"], "--info-fd", str(writes)),
            *image.config["Entrypoint"],
            *(arguments or image.config["Cmd"] or ()),
        ]
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                command,
                env=self._environment,
                pass_fds=[writes],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        os.close(writes)
        with os.fdopen(reads) as info:
            self._first = int(json.load(info)["child-pid"])
        self._watchdog = threading.Timer(PATIENCE_S, self._process.kill)
        self._watchdog.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            print(self.finish().errors)

    @property
    def _environment(self) -> dict[str, str]:
        return dict(item.split("=", 1) for item in self._image.config["Env"])

    def wait_for_line(self, line: str) -> None:
        """Wait until the program prints a line; raises AssertionError if it ends before."""
        assert self._process.stdout
        for printed in self._process.stdout:
            if printed.rstrip() == line:
                return
        raise AssertionError(f"the program ended without printing {line!r}: {self.finish()}")

    def execute(self, command: list[str]) -> Ended:
        """Run another program in the container, as the image's user."""
        user, group = self._image.user
        spaces = ("--user", "--mount", "--net", "--pid", "--ipc")
        enter = ["nsenter", f"--target={self._first}", *spaces, f"-S{user}", f"-G{group}"]
        variables = [f"{name}={value}" for name, value in self._environment.items()]
        done = subprocess.run(
            [*enter, "env", "-i", *variables, *command],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def stop(self) -> Ended:
        """Send the image's stop signal to the first process and wait for its end."""
        os.kill(self._first, signal.Signals[self._image.config["StopSignal"]])
        return self.finish()

    def finish(self) -> Ended:
        """Wait until the container ends."""
        output, _ = self._process.communicate(timeout=PATIENCE_S)
        self._watchdog.cancel()
        return Ended(self._process.returncode, output, self._errors.read_text())

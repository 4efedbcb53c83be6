"""nginx and HAProxy in front of two servers, with the configurations of deploy/."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from tests.contract.engines import PATIENCE_S

DEPLOY = Path(__file__).parents[2] / "deploy"
SERVERS = ("10.0.0.11:50051", "10.0.0.12:50051")
"""The servers in the shipped configurations."""


@dataclass(frozen=True)
class Certificate:
    """The files of a certificate and of its authority; `both` holds chain and key."""

    authority: Path
    chain: Path
    key: Path
    both: Path


class Proxy:
    """A proxy that runs until the end of the block, with the shipped configuration.

    Only addresses and paths differ, and what `edits` replaces. The socket listens before the proxy
    starts, so that callers need not wait, and no other process can take the port.
    """

    binary: ClassVar[str]
    shipped: ClassVar[Path]

    def __init__(
        self,
        targets: Sequence[str],
        certificate: Certificate,
        folder: Path,
        edits: Mapping[str, str] | None = None,
    ) -> None:
        self.port = 0
        self.folder = folder
        self._targets = targets
        self._certificate = certificate
        self._edits = edits or {}
        self._process: subprocess.Popen[bytes]

    @classmethod
    def path(cls) -> str | None:
        """The path of the program; None if it is not installed."""
        folders = (os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin")
        return shutil.which(cls.binary, path=os.pathsep.join(folders))

    @property
    def target(self) -> str:
        """The address for callers."""
        return f"127.0.0.1:{self.port}"

    def log(self) -> str:
        """The log of the proxy."""
        return (self.folder / "log").read_text(errors="replace")

    def __enter__(self) -> Self:
        with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
            self.port = listening.getsockname()[1]
            number = listening.fileno()
            with (self.folder / "log").open("wb") as log:
                self._process = subprocess.Popen(
                    [self.path() or self.binary, *self._arguments(number)],
                    env={**os.environ, "NGINX": f"{number};"},
                    pass_fds=(number,),
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ended_early = self._process.poll() is not None
        if not ended_early:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(PATIENCE_S)
                raise
        assert not ended_early, self.log()

    def _configuration(self, replaced: Mapping[str, str]) -> str:
        """The shipped configuration with all replacements."""
        text = self.shipped.read_text(encoding="utf-8")
        servers = dict(zip(SERVERS, self._targets, strict=True))
        for old, new in {**replaced, **servers, **self._edits}.items():
            assert old in text, f"{self.shipped} has no {old!r}"
            text = text.replace(old, new)
        return text

    def _arguments(self, listening: int) -> list[str]:
        """The command's arguments; the proxy inherits its socket with this descriptor."""
        raise NotImplementedError


class Nginx(Proxy):
    """nginx, one worker."""

    binary = "nginx"
    shipped = DEPLOY / "nginx" / "classwire.conf"

    def _arguments(self, listening: int) -> list[str]:
        scratch = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = " ".join(f"{name}_temp_path {self.folder / name};" for name in scratch)
        site = self._configuration(
            {
                "listen 443 ": f"listen {self.target} ",
                "/etc/nginx/classwire.crt": str(self._certificate.chain),
                "/etc/nginx/classwire.key": str(self._certificate.key),
            }
        )
        user = "user root;" if os.geteuid() == 0 else ""
        main = (
            f"daemon off; worker_processes 1; {user} pid {self.folder / 'pid'};\n"
            f"events {{}}\n"
            f"http {{ access_log off; {paths}\n{site}}}\n"
        )
        (self.folder / "nginx.conf").write_text(main, encoding="utf-8")
        return ["-e", "stderr", "-c", str(self.folder / "nginx.conf")]


class HAProxy(Proxy):
    """HAProxy, one process."""

    binary = "haproxy"
    shipped = DEPLOY / "haproxy" / "classwire.cfg"

    def _arguments(self, listening: int) -> list[str]:
        text = self._configuration(
            {
                "bind :443 ": f"bind fd@{listening} ",
                "/etc/haproxy/classwire.pem": str(self._certificate.both),
                "log /dev/log local0": "log stdout format raw local0",
            }
        )
        (self.folder / "haproxy.cfg").write_text(text, encoding="utf-8")
        return ["-db", "-f", str(self.folder / "haproxy.cfg")]


PROXIES: tuple[type[Proxy], ...] = (Nginx, HAProxy)

"""Build the CPU image without Docker or an image registry, and run it as operators do.

    python -m scripts.replay_image

buildah executes deploy/docker/Dockerfile on a base image that debootstrap makes: Debian 12 with its
Python 3.11, in place of the official Python image. pip installs from a folder that this machine's
pip fills beforehand. bubblewrap then runs the image with its user, entry point and environment, a
read-only root, no capabilities, and no network except its own loopback. Needs Linux and root;
apt-get installs missing programs of the three. The exit code is 0 if every step succeeds.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

import trustme

from .replayed_container import Container, Image

ROOT = Path(__file__).parent.parent
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
PROGRAMS = {"buildah": "buildah", "debootstrap": "debootstrap", "bwrap": "bubblewrap"}
WHEELHOUSE = "/wheelhouse"
NOT_REPLAYED = (
    "the official Python image (Debian's Python 3.11 stands in for it), the CUDA target, Docker's "
    "own builder and runtime, its limits of memory and processors"
)

_started = time.monotonic()


def main() -> int:
    """Run every step and return the exit status."""
    if os.geteuid() or sys.platform != "linux":
        print("replay-image needs Linux and root", file=sys.stderr)
        return 2
    _install_programs()
    with tempfile.TemporaryDirectory(prefix="classwire-image-") as folder:
        work = Path(folder)
        work.chmod(0o755)  # the image's user reads it
        builder = Builder(work)
        try:
            builder.make_base()
            builder.build()
            with builder.image() as image:
                _try_plain(image, work)
                _try_tls(image, work)
        finally:
            builder.remove()
    _say(f"all passed; not replayed: {NOT_REPLAYED}")
    return 0


class Builder:
    """buildah, with all its storage in one folder."""

    def __init__(self, work: Path) -> None:
        self._work = work
        storage = work / "storage.conf"
        storage.write_text(
            f'[storage]\ndriver = "overlay"\nrunroot = "{work}/run"\ngraphroot = "{work}/graph"\n'
        )
        self._environment = {**os.environ, "CONTAINERS_STORAGE_CONF": str(storage)}

    def make_base(self) -> None:
        """Make Debian with Python, under the name of the Dockerfile's base image."""
        named = re.search(r"^ARG PYTHON=(\S+)$", DOCKERFILE.read_text(), re.MULTILINE)
        assert named, "the Dockerfile names no base image"
        _say(f"base: Debian 12 as python:{named[1]}")
        root = self._work / "debian"
        packages = "--include=python3,python3-venv,ca-certificates"
        _run(["debootstrap", "--variant=minbase", packages, "bookworm", str(root)], timeout_s=300)
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        archive = self._work / "debian.tar"
        _run(["tar", "-C", str(root), "-cf", str(archive), "."], timeout_s=120)
        shutil.rmtree(root)
        base = self._buildah("from", "scratch")
        self._buildah("add", "--quiet", base, str(archive), "/")
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self._buildah("config", "--env", path, base)
        self._buildah("commit", "--quiet", "--rm", base, f"docker.io/library/python:{named[1]}")

    def build(self) -> None:
        """Execute the Dockerfile."""
        wheelhouse = self._work / "wheelhouse"
        _say("wheels: downloading the locked versions with this machine's pip")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:"]
        locked = ["--python-version=3.11", "--constraint=requirements.lock"]
        _run([*pip, *locked, "--dest", str(wheelhouse), *_requirements()], timeout_s=600)
        secret = self._work / "pip.conf"
        secret.write_text(f"[global]\nno-index = true\nfind-links = {WHEELHOUSE}\n")
        _say(f"image: {DOCKERFILE.relative_to(ROOT)}, target cpu")
        self._buildah(
            *("build", "--isolation=chroot", "--format=docker", "--layers=false", "--pull-never"),
            f"--secret=id=pip,src={secret}",
            f"--volume={wheelhouse}:{WHEELHOUSE}:ro",
            *("--target=cpu", "--tag=classwire:cpu", f"--file={DOCKERFILE}", str(ROOT)),
            timeout_s=900,
        )

    def image(self) -> Image:
        """Return the built image: its files and its configuration."""
        described = json.loads(self._buildah("inspect", "--type=image", "classwire:cpu"))
        container = self._buildah("from", "--pull-never", "classwire:cpu")
        mounted = Path(self._buildah("mount", container))
        return Image(mounted, self._work / "image", described["Docker"]["config"])

    def remove(self) -> None:
        """Delete mounted containers and images."""
        self._buildah("rm", "--all")
        self._buildah("rmi", "--all", "--force")

    def _buildah(self, *arguments: str, timeout_s: float = 120) -> str:
        return _run(["buildah", *arguments], timeout_s=timeout_s, environment=self._environment)


def _try_plain(image: Image, work: Path) -> None:
    """Run the image without TLS; raises AssertionError if it misbehaves."""
    _say("run: without arguments")
    rejected = Container(image, work, []).finish()
    assert rejected.code == 2, rejected
    assert "--insecure" in rejected.errors, rejected

    _say("run: --insecure, the embedded checkpoint")
    with Container(image, work, ["--insecure"]) as container:
        container.wait_for_line("serving")
        assert container.execute(image.probe).code == 0
        answer = container.execute(["classwire", "classify", "--json", "I really love this book"])
        label = json.loads(answer.output)["label"]
        assert label == "5 stars", answer
        metrics = "import urllib.request as u; u.urlopen('http://127.0.0.1:9464/metrics')"
        assert container.execute(["python", "-c", metrics]).code == 0
        for path, code in (("/opt/classwire/x", 1), ("/var/cache/classwire/x", 0), ("/tmp/x", 0)):
            assert container.execute(["touch", path]).code == code, path
        assert container.execute(["id", "-u"]).output.strip() == "10001"
        _say("stop: SIGTERM to its first process")
        stopped = container.stop()
        assert stopped.code == 0, stopped
        assert "draining" in stopped.errors, stopped


def _try_tls(image: Image, work: Path) -> None:
    """Run the image with TLS; its probe needs no certificate. Raises AssertionError."""
    _say("run: with TLS, probed by the Unix socket")
    files = work / "tls"
    files.mkdir()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(files / "ca.crt")
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(files / "tls.crt")
    issued.private_key_pem.write_to_path(files / "tls.key")
    # bubblewrap can't create mount points in a read-only root; /models exists in the image.
    settings = ["--tls-cert=/models/tls.crt", "--tls-key=/models/tls.key"]
    with Container(image, work, settings, {files: "/models"}) as container:
        container.wait_for_line("serving")
        assert container.execute(image.probe).code == 0
        ask = ["classwire", "health", "--target=localhost:50051", "--timeout-s=5"]
        assert container.execute([*ask, "--tls-ca=/models/ca.crt"]).code == 0
        assert container.execute(ask).code == 1
        assert container.stop().code == 0


def _requirements() -> list[str]:
    """Return both distributions' external dependencies and build tools."""
    needed = {"build", "hatchling"}
    for path in (ROOT / "client/pyproject.toml", ROOT / "pyproject.toml"):
        project = tomllib.loads(path.read_text())["project"]
        needed.update(project["dependencies"])
        needed.update(project.get("optional-dependencies", {}).get("tracing", ()))
    return sorted(name for name in needed if not name.startswith("classwire"))


def _install_programs() -> None:
    missing = [package for name, package in PROGRAMS.items() if shutil.which(name) is None]
    if missing:
        _say(f"installing {', '.join(missing)}")
        apt = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *missing]
        _run(["apt-get", "update", "--quiet"], timeout_s=300)
        _run(apt, timeout_s=300)


def _run(
    command: Sequence[str], *, timeout_s: float, environment: dict[str, str] | None = None
) -> str:
    """Return a command's output; exits with its last lines if it fails."""
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout_s
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr[-4000:]}")
    return done.stdout.strip()


def _say(what: str) -> None:
    print(f"[{time.monotonic() - _started:4.0f} s] {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

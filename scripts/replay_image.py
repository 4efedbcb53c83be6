"""Build the CPU image without Docker or a registry of images, and run it as operators would.

    python -m scripts.replay_image

buildah carries out deploy/docker/Dockerfile, step by step, on a base image that debootstrap makes:
Debian 12 with its Python 3.11, in place of the official Python image. pip installs from a folder
that is filled by this machine's pip beforehand. The image then runs under bubblewrap: its user,
its entry point, its environment, a root that can't be written to, no capability, no network but a
loopback of its own. Linux, as root; what is missing of the three programs is installed by apt-get.
The exit code is 0 when every step did what it should.
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
    """Replay everything, and say what was and what was not."""
    if os.geteuid() or sys.platform != "linux":
        print("replay-image needs Linux, and root", file=sys.stderr)
        return 2
    _install_programs()
    with tempfile.TemporaryDirectory(prefix="classwire-image-") as folder:
        work = Path(folder)
        work.chmod(0o755)  # the image's user looks into it
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
    """buildah, with everything that it keeps in one folder."""

    def __init__(self, work: Path) -> None:
        self._work = work
        storage = work / "storage.conf"
        storage.write_text(
            f'[storage]\ndriver = "overlay"\nrunroot = "{work}/run"\ngraphroot = "{work}/graph"\n'
        )
        self._environment = {**os.environ, "CONTAINERS_STORAGE_CONF": str(storage)}

    def make_base(self) -> None:
        """Make Debian with Python, under the name of the base image in the Dockerfile."""
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
        """Carry out the Dockerfile."""
        wheelhouse = self._work / "wheelhouse"
        _say("wheels: what requirements.lock names, by this machine's pip")
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
        """What was built, as its files and its configuration."""
        described = json.loads(self._buildah("inspect", "--type=image", "classwire:cpu"))
        container = self._buildah("from", "--pull-never", "classwire:cpu")
        mounted = Path(self._buildah("mount", container))
        return Image(mounted, self._work / "image", described["Docker"]["config"])

    def remove(self) -> None:
        """Delete what lies mounted; the rest goes with the folder."""
        self._buildah("rm", "--all")
        self._buildah("rmi", "--all", "--force")

    def _buildah(self, *arguments: str, timeout_s: float = 120) -> str:
        return _run(["buildah", *arguments], timeout_s=timeout_s, environment=self._environment)


def _try_plain(image: Image, work: Path) -> None:
    """Run the image in plain text; raises AssertionError when it does not what it should."""
    _say("run: without arguments")
    refused = Container(image, work, []).finish()
    assert refused.code == 2, refused
    assert "--insecure" in refused.errors, refused

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
    """Run it with TLS, in which its own probe needs no certificate; raises AssertionError."""
    _say("run: with TLS, probed by the Unix socket")
    files = work / "tls"
    files.mkdir()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(files / "ca.crt")
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(files / "tls.crt")
    issued.private_key_pem.write_to_path(files / "tls.key")
    # bubblewrap makes no mount points in what is read only, and this is one.
    settings = ["--tls-cert=/models/tls.crt", "--tls-key=/models/tls.key"]
    with Container(image, work, settings, {files: "/models"}) as container:
        container.wait_for_line("serving")
        assert container.execute(image.probe).code == 0
        ask = ["classwire", "health", "--target=localhost:50051", "--timeout-s=5"]
        assert container.execute([*ask, "--tls-ca=/models/ca.crt"]).code == 0
        assert container.execute(ask).code == 1
        assert container.stop().code == 0


def _requirements() -> list[str]:
    """What both distributions need from elsewhere, and what builds them."""
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
    """What a command printed; ends this program with its last lines when it fails."""
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

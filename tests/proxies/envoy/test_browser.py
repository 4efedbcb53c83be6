"""The page of examples/browser in a headless Chromium, against Envoy and servers."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import pytest

from classwire_server.server import Server
from scripts.envoy import Envoy, Settings
from scripts.fleet import SHIPPED_ORIGIN, page
from tests.proxies.envoy.conftest import StartEnvoy

Show = Callable[..., str]
CHROMIUM_TIMEOUT_S = 60.0
VIRTUAL_TIME_MS = 20_000
"""Time of the page's own clock; it stands still while requests are open."""


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """Serve the page, and yield its origin."""
    with page() as served:
        yield served


@pytest.fixture(scope="module")
def show(
    installed: None, servers: list[Server], origin: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Show]:
    """Yield a function that returns what the page shows, by the parameters of its address."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed")
    profile: Path = tmp_path_factory.mktemp("chromium")
    settings = Settings(model="tiny", edits={SHIPPED_ORIGIN: origin})
    targets = [server.target for server in servers]
    with Envoy(tmp_path_factory.mktemp("envoy"), targets, settings) as envoy:

        def shown(**parameters: str) -> str:
            query = urlencode({"server": f"http://{envoy.target}", **parameters})
            ended = subprocess.run(
                [
                    browser,
                    "--headless",
                    *(["--no-sandbox"] if os.geteuid() == 0 else []),
                    "--disable-gpu",
                    "--disable-dev-shm-usage",
                    f"--user-data-dir={profile}",
                    f"--virtual-time-budget={VIRTUAL_TIME_MS}",
                    "--dump-dom",
                    f"{origin}/?{query}",
                ],
                capture_output=True,
                text=True,
                timeout=CHROMIUM_TIMEOUT_S,
                check=True,
            )
            found = re.search(r'<p id="error".*</body>', ended.stdout, re.DOTALL)
            assert found, ended.stdout
            return unescape(" ".join(re.sub("<[^>]*>", " ", found[0]).split()))

        yield shown


def test_one_text(show: Show) -> None:
    """The page shows the score of each label, and the tokens."""
    shown = show(text="I love it")

    assert shown.startswith("5 stars 63.6 % 4 stars 23.4 %")
    assert re.search(r"\d+ tokens, [\d.]+ ms \[CLS\] .* \[SEP\]$", shown)


def test_a_long_text(show: Show) -> None:
    """The page reads a text longer than the model in windows, and shows each."""
    shown = show(text="I love it. " * 400)

    assert shown.startswith("5 stars")
    count = re.search(r"tokens in (\d+) windows", shown)
    assert count
    assert int(count[1]) > 1
    assert shown.count("Window ") == int(count[1])


def test_a_batch(show: Show) -> None:
    """With a text in each line, the page makes one batch call; each has its label or its error."""
    shown = show(text=f"good\nbad\n{'a ' * 1_000}", lines="1")

    assert shown.count("5 stars 63.6 %") == 2
    assert "TOO_MANY_TOKENS: " in shown


def test_an_error(show: Show) -> None:
    """The page shows reason and message of an error."""
    assert show(text=" ").startswith("EMPTY_TEXT: ")


def test_without_a_replica(show: Show, start_envoy: StartEnvoy, origin: str) -> None:
    """The page shows the message of an error that Envoy makes itself."""
    envoy = start_envoy([], edits={SHIPPED_ORIGIN: origin})

    assert show(server=f"http://{envoy.target}", text="a") == "no replica could take the call"


def test_another_server(show: Show) -> None:
    """The page shows the HTTP status of a server that is not Envoy, such as the page's own."""
    assert show(server="", text="a") == "HTTP status 501"

"""What is refused at start: plain text for others to read, and halves of what belongs together."""

from pathlib import Path
from typing import Any

import pytest

from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import ConfigError
from tests.security.files import Pair


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "classwire.example"])
def test_plain_text_beyond_this_machine(host: str, pair: Pair) -> None:
    """Is refused, naming what to change, unless --insecure says so; TLS needs no such word."""
    with pytest.raises(ConfigError, match=r"^--host: .*--tls-cert and --tls-key, or --insecure$"):
        ServerConfig(host=host)
    assert ServerConfig(host=host, insecure=True).insecure
    assert ServerConfig(host=host, **pair.settings).tls_cert


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", ""])
def test_plain_text_within_this_machine(host: str) -> None:
    """Loopback addresses and Unix sockets need no word."""
    assert ServerConfig(host=host, unix_socket="classwire.sock").host == host


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({"tls_cert": __file__}, "tls_key"),
        ({"tls_key": __file__}, "tls_key"),
        ({"tls_client_ca": __file__}, "tls_client_ca"),
        ({"tls_cert": "nowhere.pem", "tls_key": __file__}, "tls_cert"),
        ({"callers": "nowhere.toml"}, "callers"),
        ({"max_metadata_bytes": 1}, "max_metadata_bytes"),
    ],
)
def test_halves(settings: dict[str, Any], setting: str) -> None:
    """What needs another setting, or a file that is not there, is refused by name."""
    with pytest.raises(ConfigError) as refusal:
        ServerConfig(**settings)
    assert refusal.value.setting == setting


def test_health_is_open_and_reflection_is_not() -> None:
    """Probes need no secret; what the server offers is told to callers."""
    config = ServerConfig()
    assert (config.open_health, config.open_reflection) == (True, False)
    assert Path(config.callers) == Path()

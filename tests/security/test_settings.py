"""Security settings that the server rejects: plain text on a network, and incomplete pairs."""

from pathlib import Path
from typing import Any

import pytest

from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import ConfigError
from tests.security.files import Pair


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "classwire.example"])
def test_plain_text_beyond_this_machine(host: str, pair: Pair) -> None:
    """An address beyond loopback needs TLS or --insecure. The error names both."""
    with pytest.raises(ConfigError, match=r"^--host: .*--tls-cert and --tls-key, or --insecure$"):
        ServerConfig(host=host)
    assert ServerConfig(host=host, insecure=True).insecure
    assert ServerConfig(host=host, **pair.settings).tls_cert


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", ""])
def test_plain_text_within_this_machine(host: str) -> None:
    """Loopback addresses and Unix sockets need neither."""
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
def test_incomplete_settings(settings: dict[str, Any], setting: str) -> None:
    """The error names the setting that lacks another setting or its file."""
    with pytest.raises(ConfigError) as refusal:
        ServerConfig(**settings)
    assert refusal.value.setting == setting


def test_default_access() -> None:
    """By default, health needs no credentials, but reflection does."""
    config = ServerConfig()
    assert (config.open_health, config.open_reflection) == (True, False)
    assert Path(config.callers) == Path()

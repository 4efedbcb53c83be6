"""Settings: their sources, and the errors for bad values."""

import dataclasses
import gc
from pathlib import Path
from typing import Any

import pytest

from classwire._connection.channel import channel_options
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import EMBEDDED_MODEL, SETTING_GROUPS, ServerConfig
from classwire_server.config.sources import resolve
from classwire_server.errors import ConfigError
from classwire_server.rpc.server_options import grpc_options


def _file(folder: Path, text: str) -> str:
    path = folder / "classwire.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_flag_wins_then_the_environment_then_the_file(tmp_path: Path) -> None:
    """For each setting, the flag overrides the variable, and the variable the file."""
    file = _file(tmp_path, "port = 1\nmax_streams = 1\nrpc_threads = 11\n")
    environment = {"CLASSWIRE_PORT": "2", "CLASSWIRE_MAX_STREAMS": "2"}
    config = resolve({"port": 3}, environment, file)
    assert (config.port, config.max_streams, config.rpc_threads) == (3, 2, 11)
    assert config.host == ServerConfig().host


def test_every_kind_of_value(tmp_path: Path) -> None:
    """Variables and files can hold texts, numbers, switches and lists."""
    environment = {
        "CLASSWIRE_MODEL": "a=x/a, b=x/b",
        "CLASSWIRE_REFLECTION": "no",
        "CLASSWIRE_DEFAULT_TIMEOUT_S": "2.5",
        "CLASSWIRE_DEVICE": "cpu",
    }
    file = _file(
        tmp_path,
        'model = ["a=x/a", "b=x/b"]\nreflection = false\ndefault_timeout_s = 2.5\ndevice = "cpu"\n',
    )
    from_environment, from_file = resolve({}, environment, None), resolve({}, {}, file)
    assert from_environment == from_file
    assert from_file.model == ("a=x/a", "b=x/b")
    assert not from_file.reflection
    assert from_file.default_timeout_s == 2.5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 1", "no such setting: prot"),
        ("port = 'x'", "--port"),
        ("port = true", "--port"),
        ("reflection = 1", "--reflection"),
        ("model = [1]", "--model"),
        ("port = ", "classwire.toml"),
        (f"port = {'[' * 3000}", "--config: .*too many nested brackets"),
        (f"port = {'1' * 5000}", "--config: .*too many digits"),
        (f"port = 0x{'f' * 5000}", "--port: .*too many digits"),
        (f"default_timeout_s = {'1' * 400}", "--default-timeout-s: .*too many digits"),
    ],
)
def test_a_bad_file(tmp_path: Path, text: str, said: str) -> None:
    """The error names the unknown key, the setting of the wrong type, or the broken file."""
    file = _file(tmp_path, text)
    gc.disable()  # a finalizer that runs at the depth limit of the brackets fails, and warns
    try:
        with pytest.raises(ConfigError, match=said):
            resolve({}, {}, file)
    finally:
        gc.enable()


def test_a_missing_file(tmp_path: Path) -> None:
    """The error names the path."""
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        resolve({}, {}, str(tmp_path / "nowhere.toml"))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CLASSWIRE_PORT", "many"),
        ("CLASSWIRE_REFLECTION", "maybe"),
        ("CLASSWIRE_DEFAULT_TIMEOUT_S", ""),
    ],
)
def test_a_bad_variable(variable: str, value: str) -> None:
    """The error names the variable."""
    with pytest.raises(ConfigError, match=variable):
        resolve({}, {variable: value}, None)


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({"device": "gpu"}, "device"),
        ({"device": "cuda:"}, "device"),
        ({"truncation": "middle"}, "truncation"),
        ({"log_level": "loud"}, "log_level"),
        ({"precision": "float8"}, "precision"),
        ({"calibration": "no-such-file"}, "calibration"),
        ({"calibration": "~nosuchuser/x"}, "calibration"),
        ({"calibration": "x" * 300}, "calibration"),
        ({"compile_cache": "~nosuchuser/x"}, "compile_cache"),
        ({"callers": "x" * 300}, "callers"),
        ({"tls_cert": "x" * 300, "tls_key": "x"}, "tls_cert"),
        ({"min_label_agreement": 1.01}, "min_label_agreement"),
        ({"max_score_difference": -0.1}, "max_score_difference"),
        ({"lanes": -1}, "lanes"),
        ({"threads": 1_025}, "threads"),
        ({"port": 65_536}, "port"),
        ({"port": -1}, "port"),
        ({"metrics_host": "x" * 70}, "metrics_host"),
        ({"host": "a..b", "insecure": True}, "host"),
        ({"admin_host": "x" * 70, "admin_port": 0, "insecure": True}, "admin_host"),
        ({"default_timeout_s": 0.0}, "default_timeout_s"),
        ({"default_timeout_s": float("nan")}, "default_timeout_s"),
        ({"max_streams": 0}, "max_streams"),
        ({"max_streams": 61}, "max_streams"),
        ({"rpc_threads": 8}, "max_streams"),
        ({"stream_items_per_message": 257}, "stream_items_per_message"),
        ({"max_text_bytes": 1 << 25}, "max_text_bytes"),
        ({"host": ""}, "host"),
        ({"batch_tokens": -1}, "batch_tokens"),
        ({"model": ("a=x", "a=y")}, "model"),
        ({"model": ("Not Legal=x",)}, "model"),
        ({"model": ("name=",)}, "model"),
    ],
)
def test_impossible_settings_name_what_to_change(settings: dict[str, Any], setting: str) -> None:
    """A value out of range, or two that contradict each other, raise one line with the flag."""
    with pytest.raises(ConfigError) as refusal:
        ServerConfig(**settings)
    assert refusal.value.setting == setting
    assert str(refusal.value).startswith(f"--{setting.replace('_', '-')}: ")
    assert "\n" not in str(refusal.value)


def test_the_default_model_is_the_embedded_one() -> None:
    """Without --model, the server serves the embedded checkpoint."""
    (source,) = ServerConfig().sources
    assert source.name == EMBEDDED_MODEL
    assert source.is_folder


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("acme/Stars_v2", ModelSource("stars_v2", "acme/Stars_v2")),
        ("acme/stars@v1", ModelSource("stars", "acme/stars", "v1")),
        ("best=acme/stars@v1", ModelSource("best", "acme/stars", "v1")),
        ("acme/stärs", ModelSource("st-rs", "acme/stärs")),
    ],
)
def test_models_by_id(text: str, expected: ModelSource) -> None:
    """`[name=]id[@revision]`: the default name is the id's last part in lower case."""
    assert ModelSource.parse(text) == expected


def test_models_by_folder(tmp_path: Path) -> None:
    """A folder gives the model its name. It has no revision, even with an @ in its name."""
    folder = tmp_path / "My@Stars"
    folder.mkdir()
    assert ModelSource.parse(str(folder), "v1") == ModelSource("my-stars", str(folder))


def test_every_setting_says_what_it_does() -> None:
    """Each setting has a help text that ends with a full stop."""
    for field in dataclasses.fields(ServerConfig):
        assert field.metadata["help"].endswith((".", ")."))


def test_every_setting_has_a_group() -> None:
    """The groups of `--help` hold each setting once."""
    grouped = [field.name for group in SETTING_GROUPS.values() for field in group]
    assert sorted(grouped) == sorted(field.name for field in dataclasses.fields(ServerConfig))


def test_callers_see_no_path(tmp_path: Path) -> None:
    """Callers see the last part of a folder's path, even after its removal, or a whole hub id."""
    folder = tmp_path / "stars"
    folder.mkdir()
    source = ModelSource.parse(f"{folder}/")
    assert source.public_location == "stars"
    folder.rmdir()
    assert source.public_location == "stars"
    assert ModelSource.parse("acme/stars").public_location == "acme/stars"


def test_the_server_accepts_the_clients_pings() -> None:
    """The server permits pings more often than the client sends them, with and without calls."""
    client = dict(channel_options(()))
    server = dict(grpc_options(ServerConfig()))
    ping_interval_ms = server["grpc.http2.min_ping_interval_without_data_ms"]
    assert client["grpc.keepalive_time_ms"] > ping_interval_ms
    assert client["grpc.keepalive_permit_without_calls"] == 1
    assert server["grpc.keepalive_permit_without_calls"] == 1

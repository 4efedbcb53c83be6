"""`classwire serve --check`: checks everything that a start needs, without serving."""

import codecs
import datetime
import functools
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

import classwire_server.cli.check
from classwire.contract.tokens import hash_of, new_token
from classwire_server.cli.check import Finding, findings, model_findings
from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import ConfigError, StartError
from classwire_server.observability import logs
from classwire_server.security.certificate_check import inspect_certificate
from classwire_server.server import Server
from tests.cli.conftest import Run, classwire  # noqa: F401
from tests.conftest import launch_forked
from tests.security.files import HOST, Pair, ca_file

PAST = datetime.datetime(2020, 1, 1)
CA_USAGE = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@pytest.fixture
def look(checkpoint: Callable[..., Path]) -> Callable[..., list[Finding]]:
    """Runs all checks with these settings, and by default with a tiny valid model."""

    def all_findings(**settings: Any) -> list[Finding]:
        given: dict[str, Any] = {
            "model": (f"tiny={checkpoint('bert')}",),
            "batch_tokens": 512,
            "port": 0,
        }
        return list(findings(ServerConfig(**given | settings), launch_forked))

    return all_findings


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which something listens."""
    with socket.create_server((HOST, 0)) as listening:
        yield listening.getsockname()[1]


def failed(found: list[Finding]) -> list[str]:
    """Return the names of the failed checks."""
    return [finding.what for finding in found if finding.exit_code]


def test_all_checks_succeed(look: Callable[..., list[Finding]], tmp_path: Path) -> None:
    """The findings name certificate, authorities, callers, addresses and model, but no secret."""
    authority = trustme.CA()
    pair = Pair.at(tmp_path, authority.issue_cert(HOST, "classwire.example"))
    ca = ca_file(tmp_path, authority)
    token = new_token("alice")
    callers = tmp_path / "callers.toml"
    callers.write_text(f'[alice]\ntokens = ["{hash_of(token)}"]\n')

    found = look(
        **pair.settings,
        tls_client_ca=str(ca),
        callers=str(callers),
        metrics_port=0,
        admin_port=0,
        unix_socket=str(tmp_path / "socket"),
    )

    said = {finding.what: finding.detail for finding in found}
    assert failed(found) == []
    assert "classwire.example" in said["certificate"]
    assert "until " in said["certificate"]
    assert said["authorities of callers"] == f"{ca} has 1"
    assert said["callers"] == f"{callers} names alice"
    assert {"address", "address of metrics", "address of admin", "Unix socket"} <= said.keys()
    assert "BertForSequenceClassification" in said["model tiny"]
    assert "labels agree with plain float32 on 100.0 %" in said["model tiny"]
    lines = "\n".join(map(str, found))
    assert not any(secret in lines for secret in (token, "hmac-sha256:", "PRIVATE KEY"))
    assert not (tmp_path / "socket").exists()


def test_a_failed_check_does_not_stop_the_next(
    look: Callable[..., list[Finding]], tmp_path: Path, taken: int
) -> None:
    """Each failure is a finding, in the order of a start, with the exit code of a start."""
    authority = trustme.CA()
    pair = Pair.at(tmp_path, authority.issue_cert(HOST, not_after=PAST))
    callers = tmp_path / "callers.toml"
    callers.write_text("[alice]\n")

    found = look(
        **pair.settings,
        callers=str(callers),
        port=taken,
        unix_socket=str(tmp_path / "nowhere" / "socket"),
        model=(f"gone={tmp_path}/gone",),
    )

    assert [(finding.what, finding.exit_code) for finding in found] == [
        ("settings", 0),
        ("certificate", 2),
        ("callers", 2),
        ("address", 1),
        ("Unix socket", 1),
        ("model gone", 1),
    ]
    said = [finding.detail for finding in found]
    assert said[1] == f"--tls-cert: {pair.cert}: certificate has expired"
    assert "neither tokens nor certificates" in said[2]
    assert said[3].endswith("address already in use")
    assert said[5].endswith("no such folder")


def test_a_folder_without_a_checkpoint(tmp_path: Path) -> None:
    """A folder without a config is reported at once: no worker starts, which would import torch."""
    (tmp_path / "notes.txt").touch()
    config = ServerConfig(port=0, model=(f"notes={tmp_path}",))

    *_, last = findings(config, lambda *_: pytest.fail("a worker starts"))

    assert last.exit_code == 1
    assert last.detail.startswith(f"{tmp_path}: has no config.json")


@pytest.mark.parametrize(
    ("usage", "begins_in", "said"),
    [
        (None, -1, ""),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), -1, ""),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), -1, "not for servers"),
        (CA_USAGE, -1, "not for servers"),
        (None, 1, "not yet valid"),
    ],
)
def test_a_certificate_that_clients_reject(
    tmp_path: Path, usage: x509.ExtensionType | None, begins_in: int, said: str
) -> None:
    """Clients reject a certificate that is not for servers, or not yet valid."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    begins = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=begins_in)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begins)
        .not_valid_after(begins + datetime.timedelta(days=2))
    )
    if usage:
        builder = builder.add_extension(usage, critical=True)
    pair = Pair(tmp_path / "server.pem", tmp_path / "server.key")
    pair.cert.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    pair.key.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    if said:
        with pytest.raises(ConfigError, match=f"--tls-cert: {pair.cert}: .*{said}"):
            inspect_certificate(str(pair.cert), str(pair.key))
    else:
        assert inspect_certificate(str(pair.cert), str(pair.key)).names == ()


@pytest.mark.parametrize("what", ["curve", "byte order mark"])
def test_a_certificate_that_only_openssl_takes(tmp_path: Path, what: str) -> None:
    """A certificate that gRPC can't use is an error: gRPC itself would report nothing."""
    key = ec.generate_private_key(ec.SECP256K1() if what == "curve" else ec.SECP256R1())
    name, now = x509.Name([]), datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=2))
        .sign(key, hashes.SHA256())
    )
    pair = Pair(tmp_path / "server.pem", tmp_path / "server.key")
    mark = b"" if what == "curve" else codecs.BOM_UTF8
    pair.cert.write_bytes(mark + certificate.public_bytes(Encoding.PEM))
    pair.key.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    with pytest.raises(ConfigError, match=f"gRPC can't use .*{what}"):
        inspect_certificate(str(pair.cert), str(pair.key))


def test_tls_files_that_do_not_match(look: Callable[..., list[Finding]], tmp_path: Path) -> None:
    """The key of another certificate, and files without an authority, are failures."""
    authority = trustme.CA()
    pair = Pair.at(tmp_path, authority.issue_cert(HOST))
    other = Pair.at(tmp_path, authority.issue_cert(HOST), "other")
    mixed = {"tls_cert": str(pair.cert), "tls_key": str(other.key)}
    gone = {"model": (f"gone={tmp_path}/gone",)}

    found = look(**mixed, tls_client_ca=str(pair.key), **gone)
    assert failed(found) == ["certificate", "authorities of callers", "model gone"]
    assert "the key is not the certificate's" in found[1].detail
    rsa_key = authority.issue_cert(HOST, key_type=trustme.KeyType.RSA).private_key_pem.bytes()
    other.key.write_bytes(rsa_key)
    assert "the key is not the certificate's" in look(**mixed, **gone)[1].detail

    leaf_alone = tmp_path / "leaf.pem"
    leaf_alone.write_bytes(authority.issue_cert(HOST).cert_chain_pems[0].bytes())
    found = look(**pair.settings, tls_client_ca=str(leaf_alone), **gone)
    assert "none of its certificates is an authority's" in found[2].detail


@pytest.mark.parametrize(
    "file",
    [
        '[alice]\ntokens = ["{token}"]\n',
        "[alice]\ntokens = [{token}]\n",
        "[alice]\n{token} = 1\n",
        "{token}\n",
        "[{token}]\n[{token}]\n",
    ],
)
def test_a_token_in_the_wrong_place_is_not_printed(
    look: Callable[..., list[Finding]], tmp_path: Path, file: str
) -> None:
    """A callers file with a token in a wrong place fails. The finding does not quote the token."""
    token = new_token("alice")
    callers = tmp_path / "callers.toml"
    callers.write_text(file.format(token=token))

    found = look(callers=str(callers), model=(f"gone={tmp_path}/gone",))

    assert failed(found) == ["callers", "model gone"]
    assert token not in "\n".join(map(str, found))


def test_the_memory_budget_covers_all_models(
    look: Callable[..., list[Finding]], checkpoint: Callable[..., Path]
) -> None:
    """A model fails if it exceeds the budget together with those before it."""
    bert = checkpoint("bert")
    (alone,) = [f for f in look() if f.what == "model tiny"]
    needs_mb = int(alone.detail.partition(" MB")[0].rpartition(" ")[2])

    found = look(model=(f"a={bert}", f"b={bert}"), memory_budget_mb=round(1.5 * needs_mb))

    assert failed(found) == ["model b"]
    assert found[-1].exit_code == 2


def test_check_and_start_have_the_same_error(tmp_path: Path, taken: int) -> None:
    """The finding for an address has the text of the error at start."""
    config = ServerConfig(port=taken, model=(f"gone={tmp_path}/gone",))
    checked = [finding.detail for finding in findings(config) if finding.exit_code]
    server = Server(config)
    try:
        with pytest.raises(StartError) as refusal:
            server.listen()
    finally:
        server.stop(0)
    assert checked[0] == str(refusal.value)


@pytest.mark.parametrize("check", [findings, model_findings])
def test_a_check_measures_anew(
    checkpoint: Callable[..., Path],
    tmp_path: Path,
    check: Callable[[ServerConfig], Iterator[Finding]],
) -> None:
    """A check measures what an earlier start has measured, and keeps its own figures."""
    model = f"tiny={checkpoint('bert')}"
    config = ServerConfig(model=(model,), batch_tokens=512, compile_cache=str(tmp_path), port=0)
    written = []
    for _ in range(2):
        assert not any(finding.exit_code for finding in check(config))
        (entry,) = (tmp_path / "measurements").glob("*.json")
        written.append(entry.stat().st_ino)
    assert written[0] != written[1]


def test_the_command_exits_as_a_server_would(
    classwire: Run,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    checkpoint: Callable[..., Path],
    taken: int,
) -> None:
    """The exit code is 0 or that of the first failure. Each check and choice has one line."""
    quick = functools.partial(findings, launch=launch_forked)
    monkeypatch.setattr(classwire_server.cli.check, "findings", quick)
    monkeypatch.setattr(logs, "configure", lambda *_: None)  # it would affect all tests that follow
    tiny = ("--model", str(checkpoint("bert")), "--batch-tokens", "512")

    well = classwire("serve", "--check", "--port", "0", *tiny)
    checks: list[str] = []
    choices: list[str] = []
    for line in well.out.splitlines():
        (choices if line.startswith(" ") else checks).append(line)
    assert (well.code, [line.split()[0] for line in checks]) == (0, ["ok"] * 3)
    assert "        batches: 512 tokens (set by --batch-tokens; 16: " in "\n".join(choices)

    busy = classwire("serve", "--check", "--port", str(taken), "--model", "gone=./gone")
    assert busy.code == 1
    assert [line.split()[0] for line in busy.out.splitlines()] == ["ok", "failed", "failed"]

    forged = classwire(
        "serve", "--check", "--port", "0", "--model", "x=/no\nok      model y\x1b[2J"
    )
    assert forged.out.splitlines()[-1] == (
        r"failed  model x: /no\nok      model y\x1b[2J: no such folder"
    )

    wrong = classwire("serve", "--check", "--port", "-2")
    assert wrong.code == 2

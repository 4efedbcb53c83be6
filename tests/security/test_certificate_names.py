"""The names in valid and invalid certificates."""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from classwire_server.security.certificate_names import names_in

KEY = ec.generate_private_key(ec.SECP256R1())


def pem(common: Sequence[str], alternative: Sequence[x509.GeneralName] = ()) -> bytes:
    """Return a self-signed certificate with these names."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each) for each in common])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
    )
    if alternative:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM)


def test_all_names_of_all_kinds() -> None:
    """Common names, hosts, URIs, e-mail and IP addresses count; other kinds do not."""
    alternative = [
        x509.DNSName("web.example"),
        x509.UniformResourceIdentifier("spiffe://example/web"),
        x509.RFC822Name("web@example.org"),
        x509.IPAddress(ipaddress.ip_address("::1")),
        x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4")),
    ]
    assert names_in(pem(["Wéb Example", "second"], alternative)) == {
        "Wéb Example",
        "second",
        "web.example",
        "spiffe://example/web",
        "web@example.org",
        "::1",
    }
    assert names_in(pem(["alone"])) == {"alone"}


@pytest.mark.parametrize("bad", ["web.example\0.evil.example", "web\nlevel=error", "web\x1b[2J"])
@pytest.mark.parametrize("kind", [None, x509.DNSName, x509.RFC822Name])
def test_a_name_with_a_control_character(bad: str, kind: type | None) -> None:
    """A certificate with such a name has no names at all."""
    if kind is None:
        presented = pem([bad], [x509.DNSName("web.example")])
    else:
        presented = pem(["web.example"], [kind(bad)])
    assert names_in(presented) == frozenset()


@pytest.mark.parametrize("presented", [b"", b"no certificate", pem(["web"])[:-60]])
def test_an_invalid_certificate(presented: bytes) -> None:
    """An invalid certificate has no names."""
    assert names_in(presented) == frozenset()

"""By which names a certificate knows its holder."""

from collections.abc import Iterator
from functools import lru_cache

from cryptography import x509
from cryptography.x509.oid import NameOID

REMEMBERED = 1_024
"""Certificates whose names are kept, since each call shows its own again."""


@lru_cache(REMEMBERED)
def names_in(pem: bytes) -> frozenset[str]:
    """The common names of a certificate, and its alternative ones: hosts, URIs, e-mail and IP
    addresses.

    None of a certificate in which one holds a control character, or which can't be read: who cuts a
    name short there, as gRPC does at a NUL, takes its holder for somebody else.
    """
    try:
        names = frozenset(_names(x509.load_pem_x509_certificate(pem)))
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return frozenset()
    return names if all(name.isprintable() for name in names) else frozenset()


def _names(certificate: x509.Certificate) -> Iterator[str]:
    for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
        yield attribute.value if isinstance(attribute.value, str) else "\0"
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return
    for name in found.value:
        if isinstance(name, x509.DNSName | x509.UniformResourceIdentifier | x509.RFC822Name):
            yield name.value
        elif isinstance(name, x509.IPAddress):
            yield str(name.value)

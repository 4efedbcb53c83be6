"""Reads the names of a certificate's holder."""

from collections.abc import Iterator
from functools import lru_cache

from cryptography import x509
from cryptography.x509.oid import NameOID

CACHED_CERTIFICATES = 1_024
"""Size of the LRU cache: each call presents its certificate again."""


@lru_cache(CACHED_CERTIFICATES)
def names_in(pem: bytes) -> frozenset[str]:
    """Return a certificate's common names and alternative names (host, URI, e-mail, IP address).

    Returns no names if the certificate is invalid, or if any name has a control character: code
    that cuts a name there, as gRPC does at a NUL, would mistake its holder for another.
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

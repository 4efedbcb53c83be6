"""Encodes messages that no client's types can hold."""

import base64

NO_MESSAGE = b"\xff\xff\xff\xff"


def field(number: int, value: bytes) -> bytes:
    """Return a length-delimited field in protobuf's encoding."""
    if number > 15 or len(value) > 127:
        raise ValueError("field numbers and lengths above one byte are not supported")
    return bytes([number << 3 | 2, len(value)]) + value


def base64_of(raw: bytes) -> str:
    """Return base64, as in vectors."""
    return base64.b64encode(raw).decode("ascii")


def text_input(raw: bytes) -> bytes:
    """Return an encoded TextInput with arbitrary bytes as text."""
    return field(1, raw)


NOT_UTF8 = {
    "Latin-1": "d\u00e9j\u00e0 vu".encode("latin-1"),
    "half of a surrogate pair": b"\xed\xa0\x80",
    "a surrogate pair": b"\xed\xa0\xbd\xed\xb8\x80",
    "an overlong slash": b"\xc0\xaf",
    "a character that is cut off": "ok \U0001f600".encode()[:-1],
    "beyond Unicode": b"\xf4\x90\x80\x80",
}
"""Invalid UTF-8 that some clients send as text."""

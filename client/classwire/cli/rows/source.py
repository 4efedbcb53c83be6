"""The bytes of a file or of standard input: decompressed, and in UTF-8 whatever their encoding."""

import codecs
import gzip
import io
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import NamedTuple

from classwire.cli.failures import WrongUse

Read = Callable[[int], bytes | None]
"""Returns up to n bytes as soon as there are any, and none at the end."""

_CHUNK_BYTES = 2**16
_COMPRESSED_BYTES = 2**13
_GZIP = b"\x1f\x8b"
_MARKS = (  # UTF-16's little-endian mark is the start of UTF-32's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8"),
)
_ERRORS = "classwire.surrogate"


class Chunk(NamedTuple):
    """Some bytes in UTF-8, and the part of the file that they come from."""

    data: bytes
    begin_bytes: int
    end_bytes: int

    def place(self, used: int) -> int:
        """Return how much of the file the first `used` bytes of the data and all before them are.

        Compressed and transcoded data count in proportion.
        """
        return self.begin_bytes + (self.end_bytes - self.begin_bytes) * used // len(self.data)


class Source:
    """Yields the chunks of a file. Bytes that are wrong in its encoding are wrong in UTF-8 too.

    Without an `encoding`, a byte order mark names it, and without one it is UTF-8. Raises WrongUse
    for an unknown encoding, and for data that is evidently compressed or UTF-16.
    """

    def __init__(
        self, read: Read, name: str, encoding: str | None = None, *, compressed: bool = False
    ) -> None:
        if encoding is not None:
            _check_encoding(encoding)
        self.name = name
        self.encoding = "UTF-8"
        """The name of the encoding, for messages."""
        self.transcoded = False
        """Whether offsets in the data are not offsets in the file."""
        self.mark_bytes = 0
        """Size of a byte order mark that was removed from UTF-8."""
        self.read_bytes = 0
        """How much of the file was read."""
        self._read = read
        self._wanted = encoding
        self._compressed = compressed

    def __iter__(self) -> Iterator[Chunk]:
        read = self._counted
        if self._compressed:
            read = gzip.GzipFile(fileobj=_SmallReads(read), mode="rb").read1
        begin_bytes = 0
        for data in self._in_utf8(iter(partial(read, _CHUNK_BYTES), b"")):
            if data:
                yield Chunk(data, begin_bytes, self.read_bytes)
                begin_bytes = self.read_bytes

    def _counted(self, size: int) -> bytes:
        data = self._read(size) or b""
        self.read_bytes += len(data)
        return data

    def _in_utf8(self, parts: Iterator[bytes]) -> Iterator[bytes]:
        head = b""
        for part in parts:
            head += part
            if not any(mark.startswith(head) and mark != head for mark, _ in _MARKS):
                break
        encoding = self._wanted or self._detected(head)
        self.encoding = encoding.upper()
        parts = chain([head], parts)
        if codecs.lookup(encoding).name != "utf-8":
            self.transcoded = True
            parts = self._transcoded(parts, encoding)
        first = next(parts)
        text = first.removeprefix(codecs.BOM_UTF8)
        self.mark_bytes = len(first) - len(text)
        yield text
        yield from parts

    def _transcoded(self, parts: Iterator[bytes], encoding: str) -> Iterator[bytes]:
        decoder = codecs.getincrementaldecoder(encoding)(_ERRORS)
        try:
            for part in parts:
                yield decoder.decode(part).encode("utf-8", "surrogatepass")
            yield decoder.decode(b"", final=True).encode("utf-8", "surrogatepass")
        except UnicodeError as error:  # as for UTF-16 without a byte order mark
            raise WrongUse(f"{self.name}: --encoding {encoding}: {error}") from error

    def _detected(self, head: bytes) -> str:
        if head.startswith(_GZIP):
            raise WrongUse(f"{self.name} is compressed; name it .gz, or unpack it with gzip -dc")
        for mark, encoding in _MARKS:
            if head.startswith(mark):
                return encoding
        zeros = [byte == 0 for byte in head[:2]]
        if zeros in ([False, True], [True, False]):
            likely = "utf-16-be" if zeros[0] else "utf-16-le"
            raise WrongUse(
                f"{self.name} seems to be UTF-16 without a byte order mark: --encoding {likely}"
            )
        return "utf-8"


class _SmallReads:
    """A compressed file in small parts, so that its place stays close to the decompressed data."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read

    def read(self, size: int, /) -> bytes:
        return self._read(min(size, _COMPRESSED_BYTES))

    def seek(self, place: int, /) -> None:  # a part of the interface that reading never uses
        raise io.UnsupportedOperation("seek")


def standard_input() -> Read:
    """Return how to read standard input. Raises WrongUse if it is closed."""
    # Unbuffered: a thread that waits inside the buffer's lock keeps Python from exiting.
    if sys.stdin is None:
        raise WrongUse("standard input is closed; pass a TEXT or a --file")
    stdin = sys.stdin.buffer
    read: Read = getattr(stdin, "raw", stdin).read
    return read


def _check_encoding(name: str) -> None:
    try:
        b" ".decode(name)
    except LookupError as error:
        raise WrongUse(f"--encoding: {error}") from error
    except UnicodeError:  # it needs more than one byte
        pass


def _as_surrogate(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end


codecs.register_error(_ERRORS, _as_surrogate)

"""Lines of a file or of standard input, read in bounded memory."""

import gzip
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from classwire import InvalidInputError
from classwire.cli.failures import WrongUse

from .row import malformed
from .source import Source

MAX_LINE_BYTES = 16 * 2**20
"""Bound on a line, and on a CSV row of several lines: far above any server's limit on a text."""


class Line(NamedTuple):
    """One line."""

    number: int
    """Counts from 1."""
    content: bytes | None
    """UTF-8 with its line end; None for a line that is too long."""
    start_bytes: int
    """Where the line starts in the decompressed data."""
    end_bytes: int
    """Where it ends in the file, for progress."""


class Lines:
    """The lines of a source. A line that is too long has no content, and the next is whole again.

    Raises WrongUse where the rest cannot be read: CR line ends, damage in compressed data.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.name = source.name

    @property
    def encoding(self) -> str:
        """The name of the encoding, for messages. Known when the first line is."""
        return self._source.encoding

    def __iter__(self) -> Iterator[Line]:
        number, start = 1, 0
        rest, too_long = b"", False
        try:
            for chunk in self._source:
                *parts, last = chunk.data.split(b"\n")
                used = 0
                for part in parts:
                    used += len(part) + 1
                    content = rest + part + b"\n"
                    too_long = too_long or len(content) > MAX_LINE_BYTES
                    yield Line(number, None if too_long else content, start, chunk.place(used))
                    number, start = number + 1, start + len(content)
                    rest, too_long = b"", False
                rest += last
                if len(rest) > MAX_LINE_BYTES:
                    self._reject_cr(rest, number)
                    too_long, start, rest = True, start + len(rest), b""
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            after = f" after line {number - 1}" if number > 1 else ""
            raise WrongUse(f"{self.name} is damaged{after}: {error}") from error
        if rest or too_long:
            self._reject_cr(rest, number)
            yield Line(number, None if too_long else rest, start, self._source.read_bytes)

    def decode(self, line: Line) -> str | InvalidInputError:
        """Return the line as text without its line end, or an error that names the wrong byte."""
        if line.content is None:
            return malformed(f"line {line.number} is over {MAX_LINE_BYTES:,} bytes")
        try:
            return line.content.removesuffix(b"\n").removesuffix(b"\r").decode()
        except UnicodeDecodeError as error:
            message = f"line {line.number} is not {self.encoding}"
            if not self._source.transcoded:
                offset = self._source.mark_bytes + line.start_bytes + error.start
                message += f": byte 0x{line.content[error.start]:02x} at offset {offset}"
            return malformed(f"{message} (see --encoding)")

    def cr_ends(self) -> WrongUse:
        """Return the error of a file whose lines end with CR alone."""
        return WrongUse(f"{self.name} ends its lines with CR alone; convert it with tr '\\r' '\\n'")

    def _reject_cr(self, content: bytes, number: int) -> None:
        if number == 1 and b"\r" in content[:-1]:
            raise self.cr_ends()

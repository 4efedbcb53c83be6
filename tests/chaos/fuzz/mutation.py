"""Nearly valid messages: mutated by structure, so that they parse, or by bytes."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

MAX_TEXT_BYTES = 4_096
"""The server's own limit, small, so that messages often exceed it."""
MOST_ITEMS = 17
"""More items than a message may hold."""
BYTES_SHARE = 0.1
"""Share of messages that are mutated by bytes as well; some of them still parse."""

TEXTS = (
    "",
    " ",
    "　\n\t",
    "I love it",
    "book " * 20,
    "love " * 600,  # too many tokens
    "a " * 2_000,
    "x" * MAX_TEXT_BYTES,
    "x" * (MAX_TEXT_BYTES + 1),
    "é" * (MAX_TEXT_BYTES // 2 + 1),
    "\0",
    "a\0b\x1b[31m",
    "[CLS] [SEP] [MASK] [PAD]",
    "😀👨‍👩‍👧 e\u0301\u0301\u0301",
    "שלום \u202eمرحبا\u202c",
    "%s%n{0}{}\\x00'\";--<script>",
    "\ufeff\ufffe\U0010ffff",
)
IDS = (*"abcdefghijklmnopqrstuvwxyz", "é" * 64, "", "é" * 64 + "x", "x" * 10_000)
NAMES = ("", "", "", "tiny", "tiny", "tiny", "TINY", "other", "x" * 10_000)
OTHERS = (*NAMES, "classwire.v1.ClassifyService", "classwire.proto", "../../etc/passwd", "\0", "é")
BY_NAME: Mapping[str, Sequence[str]] = {
    "text": TEXTS,
    "text_pair": TEXTS,
    "id": IDS,
    "model": NAMES,
    "name": NAMES,
}
"""Values of string fields that decide how far a message gets."""

INTEGERS = (0, 1, 2, 3, 5, 16, 17, 1_000, 1_001, 999_999_999, 1_000_000_000, 315_576_000_000)
NUMBERS = (0.0, -0.0, 0.25, 1.0, 1.0000001, -1.0, 1e30, 5e-324, math.inf, -math.inf, math.nan)
ENUMS = (0, 1, 2, 3, 4, 5, 99, -1, (1 << 31) - 1, -(1 << 31))
LIMITS = {
    FieldDescriptor.CPPTYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, (1 << 32) - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, (1 << 64) - 1),
}


class Mutator:
    """Makes messages, the same ones for the same seed."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def chance(self, share: float) -> bool:
        """Return True with this probability."""
        return self._random.random() < share

    def number(self, least: int, most: int) -> int:
        """Return a number."""
        return self._random.randint(least, most)

    def encoded(self, starts: Sequence[Message]) -> bytes:
        """Return the bytes of one of these messages, mutated."""
        raw = self.message(starts).SerializeToString()
        if self.chance(0.1):  # protobuf merges concatenated messages
            raw += self.message(starts).SerializeToString()
        if self.chance(0.1):
            raw += self._unknown_field()
        return self._broken(raw) if self.chance(BYTES_SHARE) else raw

    def message(self, starts: Sequence[Message]) -> Message:
        """Return one of these messages, mutated in up to four places."""
        start = self._random.choice(starts)
        message = type(start)()
        message.CopyFrom(start)
        for _ in range(self.number(0, 4)):
            self._mutate(message)
        return message

    def _mutate(self, message: Any) -> None:
        """Change one field of a message, or of one within it."""
        fields = message.DESCRIPTOR.fields
        if not fields:
            return
        field = self._random.choice(fields)
        if field.containing_oneof and self.chance(0.8):  # keeps the member that is set
            name = message.WhichOneof(field.containing_oneof.name) or field.name
            field = message.DESCRIPTOR.fields_by_name[name]
        if self.chance(0.1):
            message.ClearField(field.name)
        elif field.message_type and field.message_type.GetOptions().map_entry:
            values = getattr(message, field.name)
            self._mutate(values[self._random.choice([*values, "timeout"])])
        elif field.is_repeated:
            self._mutate_list(getattr(message, field.name), field)
        elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            within = getattr(message, field.name)
            within.SetInParent()
            self._mutate(within)
        else:
            setattr(message, field.name, self._value(field))

    def _mutate_list(self, values: Any, field: FieldDescriptor) -> None:
        if field.cpp_type != FieldDescriptor.CPPTYPE_MESSAGE:
            values.append(self._value(field))
        elif self.chance(0.05):  # more than the limit
            while len(values) < MOST_ITEMS:
                added = values.add()
                if len(values) > 1 and self.chance(0.5):
                    added.CopyFrom(values[0])
        elif values and self.chance(0.7):
            self._mutate(self._random.choice(values))
        elif values and self.chance(0.3):
            del values[self.number(0, len(values) - 1)]
        else:
            self._mutate(values.add())

    def _value(self, field: FieldDescriptor) -> Any:
        kind = field.cpp_type
        if kind == FieldDescriptor.CPPTYPE_STRING:
            text = self._string(field)
            return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
        if kind == FieldDescriptor.CPPTYPE_ENUM:
            return self._random.choice(ENUMS)
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return self.chance(0.5)
        if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
            return self._random.choice(NUMBERS)
        least, most = LIMITS[kind]
        value = self._random.choice((*INTEGERS, least, most, -1))
        return min(max(value, least), most)

    def _string(self, field: FieldDescriptor) -> str:
        if self.chance(0.2):
            length = self.number(0, 40)
            return "".join(self._character() for _ in range(length))
        return self._random.choice(BY_NAME.get(field.name, OTHERS))

    def _character(self) -> str:
        code = self.number(0, self._random.choice((0x7F, 0x7FF, 0xFFFF, 0x10FFFF)))
        return chr(code) if not 0xD800 <= code <= 0xDFFF else "\ufffd"

    def _unknown_field(self) -> bytes:
        payload = self._random.randbytes(self.number(0, 40))
        return b"\xfa\x07" + bytes((len(payload),)) + payload  # field 127

    def _broken(self, raw: bytes) -> bytes:
        """Return the bytes with a fault: truncated, changed, doubled, or not UTF-8."""
        place = self.number(0, len(raw))
        faults: Sequence[Callable[[], bytes]] = (
            lambda: raw[:place],
            lambda: raw[:place] + self._random.randbytes(self.number(1, 4)) + raw[place + 1 :],
            lambda: raw[:place] + raw[place // 2 :],
            lambda: raw[:place] + self._random.choice((b"\xe9", b"\xed\xa0\x80", b"\xff" * 9)),
        )
        return self._random.choice(faults)()


def parses(kind: type[Message], raw: bytes) -> bool:
    """Return whether bytes parse as a message."""
    try:
        kind.FromString(raw)
    except DecodeError:
        return False
    return True

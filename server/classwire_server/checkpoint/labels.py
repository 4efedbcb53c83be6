"""Reads and checks the labels of a checkpoint, which every caller and terminal will show."""

import unicodedata
from typing import Any

from classwire_server.errors import CheckpointError

MAX_LABEL_BYTES = 1_024
"""Maximum size of one label, in UTF-8."""
MAX_LABELS_BYTES = 2_000_000
"""Maximum size of all labels of a model: its description stays well under 4 MiB."""

_NOT_PRINTED = {"Cc", "Zl", "Zp"}
"""Unicode categories of control characters, and of line and paragraph separators."""


def labels_of(config: Any, location: str) -> tuple[str, ...]:
    """The labels in a model's config, in the order of their ids; numbers become text.

    Raises CheckpointError, naming the id, if a label is missing or not printable.
    """
    try:
        labels = tuple(_as_printed(config.id2label[i]) for i in range(config.num_labels))
    except KeyError as error:
        raise CheckpointError(f"{location}: its id2label has no label {error}") from None
    for number, label in enumerate(labels):
        if problem := _problem(label):
            raise CheckpointError(f"{location}: label {number} of its id2label {problem}")
    if sum(len(label.encode()) for label in labels) > MAX_LABELS_BYTES:
        raise CheckpointError(
            f"{location}: its labels are larger than {MAX_LABELS_BYTES:,} bytes together"
        )
    return labels


def _as_printed(label: Any) -> Any:
    """A number as the text that it is printed as, anything else unchanged."""
    return str(label) if isinstance(label, int | float) else label


def _problem(label: Any) -> str:
    """What is wrong with a label; empty if it is valid."""
    if not isinstance(label, str):
        return "is not a text"
    if not label:
        return "is empty"
    try:
        size_bytes = len(label.encode())
    except UnicodeEncodeError:
        return "is not Unicode: it has half a character"
    if size_bytes > MAX_LABEL_BYTES:
        return f"is larger than {MAX_LABEL_BYTES:,} bytes"
    if any(unicodedata.category(character) in _NOT_PRINTED for character in label):
        return "has control characters"
    return ""

"""The texts of a batch of rows, checked as the server checks those of a call."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from classwire.contract.reasons import Reason
from classwire_server.errors import RequestError
from classwire_server.tokenization import Text


def texts_in(
    table: pa.Table, column: str, pair_column: str | None, max_text_bytes: int
) -> list[Text | RequestError]:
    """The text or pair of each row, or its error; a pair without a second text is a text.

    Raises ValueError for a column that is missing or has no texts.
    """
    texts = _strings(table, column)
    pairs = _strings(table, pair_column) if pair_column is not None else [None] * len(texts)
    return [_checked(text, pair, max_text_bytes) for text, pair in zip(texts, pairs, strict=True)]


def _strings(table: pa.Table, name: str) -> Sequence[Any]:
    if name not in table.column_names:
        raise ValueError(f"no column {name!r}; there is {', '.join(table.column_names)}")
    values = table.column(name)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    kind = values.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
        raise ValueError(f"column {name!r} has values of type {kind}, not texts")
    try:
        strings: Sequence[Any] = values.to_pylist()
    except UnicodeDecodeError:  # Parquet's readers do not check it
        given = values.cast(pa.large_binary()).to_pylist()
        strings = [each and each.decode("utf-8", "surrogateescape") for each in given]
    return strings


def _checked(text: str | None, pair: str | None, max_text_bytes: int) -> Text | RequestError:
    checked = Text(text or "", pair)
    return next(_problems(checked, max_text_bytes), None) or checked


def _problems(texts: Text, max_text_bytes: int) -> Iterator[RequestError]:
    for field, value in zip(Text._fields, texts, strict=True):
        if value is None:
            continue
        if not value.strip():
            yield RequestError(Reason.EMPTY_TEXT, "the text is empty or blank", field=field)
        elif not _is_unicode(value):
            yield RequestError(Reason.BAD_ENCODING, "the text is not UTF-8", field=field)
        elif len(value.encode()) > max_text_bytes:
            yield RequestError(Reason.TEXT_TOO_LARGE, "the text is too large", field=field)


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True

"""The texts of a batch of rows. Needs no Ray."""

import pyarrow as pa
import pytest

from classwire import Reason
from classwire_server.errors import RequestError
from classwire_server.ray.texts import texts_in
from classwire_server.tokenization import Text


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_a_text_that_is_not_utf_8(kind: pa.DataType) -> None:
    """It is an error of its row alone. Readers of Parquet do not check the encoding."""
    broken = pa.array([b"a", None, b"a\xff"]).view(pa.string()).cast(kind)
    first, second, third = texts_in(pa.table({"t": broken}), "t", None, 100)

    assert first == Text("a", None)
    assert isinstance(second, RequestError)
    assert second.reason is Reason.EMPTY_TEXT
    assert isinstance(third, RequestError)
    assert (third.reason, third.field) == (Reason.BAD_ENCODING, "text")

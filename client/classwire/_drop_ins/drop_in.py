"""What the classes that stand in for those of other libraries share: a client of their own."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from classwire.client import Client


class DropIn:
    """Owns a client. Use it as a context manager, or call `close`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def close(self) -> None:
        """Close the connection. May be called again."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

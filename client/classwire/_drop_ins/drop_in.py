"""What the classes that stand in for those of other libraries share."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from classwire.client import Client
from classwire.contract.reasons import Reason
from classwire.errors import InvalidInputError


class DropIn:
    """Owns a client, and calls one model. Use it as a context manager, or call `close`."""

    def __init__(self, client: Client, model: str | None) -> None:
        self._client = client
        self._model = model

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

    def _check_max_length(self, max_length: int | None) -> None:
        """Raise InvalidInputError below the model's maximum: the server cuts no text shorter."""
        if max_length is not None and max_length < (self._max_tokens or 0):
            raise wrong("max_length", f"must be at least {self._max_tokens}, the model's maximum")

    @functools.cached_property
    def _max_tokens(self) -> int | None:
        return self._client.model(self._model).max_tokens


def elements(inputs: Any) -> Iterable[Any]:
    """The inputs one by one. A torch dataset may have a length and elements, but no iterator."""
    if hasattr(inputs, "__iter__"):
        return inputs  # type: ignore[no-any-return]
    return (inputs[index] for index in range(len(inputs)))


def are_several(inputs: Any) -> bool:
    """Whether `elements` can read the inputs."""
    return hasattr(inputs, "__iter__") or hasattr(inputs, "__getitem__")


def chosen(argument: str, value: Any, choices: Mapping[Any, Any]) -> Any:
    """The choice for an argument's value. InvalidInputError lists the values."""
    try:
        return choices[value]
    except (KeyError, TypeError):  # unknown, or not hashable
        raise wrong(argument, f"must be one of {', '.join(map(str, choices))}") from None


def wrong(argument: str, problem: str) -> InvalidInputError:
    """The error for an argument with a problem, such as "must be ..."."""
    return InvalidInputError(f"{argument} {problem}", reason=Reason.BAD_OPTION, field=argument)

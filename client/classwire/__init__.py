"""Classwire's client: typed text in, labelled scores out.

    from classwire import Client

    with Client("127.0.0.1:50051") as client:
        result = client.classify("I really love this book")
        print(result.label, result.score)

`Client` and `AsyncClient` call a server; `pipeline` stands in for `transformers.pipeline`;
`classwire.testing` has a fake server for tests; `classwire.v1` has the generated stubs.

Each name is loaded when it is first used, so that importing `classwire.errors` or
`classwire.contract` loads no gRPC.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from ._pipeline import TextClassificationPipeline, pipeline
    from ._requests import ClassifyOptions
    from .aio import AsyncClient
    from .client import Client
    from .contract.reasons import Reason
    from .errors import (
        Cancelled,
        ClasswireError,
        DeadlineExceeded,
        InternalError,
        InvalidInput,
        MessageTooLarge,
        Overloaded,
        PermissionDenied,
        PoisonInput,
        Unauthenticated,
        Unavailable,
        Unimplemented,
        UnknownModel,
        UnusableClient,
    )
    from .results import (
        Classification,
        Deviation,
        Item,
        LabelScore,
        Model,
        ModelLimits,
        ModelRef,
        Outcome,
        ServerInfo,
        ServerLimits,
        Text,
        Timing,
        Token,
        Tokenization,
    )
    from .tls import Tls

__all__ = [
    "AsyncClient",
    "Cancelled",
    "Classification",
    "ClassifyOptions",
    "ClasswireError",
    "Client",
    "DeadlineExceeded",
    "Deviation",
    "InternalError",
    "InvalidInput",
    "Item",
    "LabelScore",
    "MessageTooLarge",
    "Model",
    "ModelLimits",
    "ModelRef",
    "Outcome",
    "Overloaded",
    "PermissionDenied",
    "PoisonInput",
    "Reason",
    "ServerInfo",
    "ServerLimits",
    "Text",
    "TextClassificationPipeline",
    "Timing",
    "Tls",
    "Token",
    "Tokenization",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "UnknownModel",
    "UnusableClient",
    "__version__",
    "pipeline",
]

_MODULES = {
    "AsyncClient": ".aio",
    "Cancelled": ".errors",
    "Classification": ".results",
    "ClassifyOptions": "._requests",
    "ClasswireError": ".errors",
    "Client": ".client",
    "DeadlineExceeded": ".errors",
    "Deviation": ".results",
    "InternalError": ".errors",
    "InvalidInput": ".errors",
    "Item": ".results",
    "LabelScore": ".results",
    "MessageTooLarge": ".errors",
    "Model": ".results",
    "ModelLimits": ".results",
    "ModelRef": ".results",
    "Outcome": ".results",
    "Overloaded": ".errors",
    "PermissionDenied": ".errors",
    "PoisonInput": ".errors",
    "Reason": ".contract.reasons",
    "ServerInfo": ".results",
    "ServerLimits": ".results",
    "Text": ".results",
    "TextClassificationPipeline": "._pipeline",
    "Timing": ".results",
    "Tls": ".tls",
    "Token": ".results",
    "Tokenization": ".results",
    "Unauthenticated": ".errors",
    "Unavailable": ".errors",
    "Unimplemented": ".errors",
    "UnknownModel": ".errors",
    "UnusableClient": ".errors",
    "pipeline": "._pipeline",
}
"""Where each public name is defined."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name], __name__), name)
    globals()[name] = value  # so that this function is asked once
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Classwire's client: typed text in, labelled scores out.

    from classwire import Client

    with Client("127.0.0.1:50051") as client:
        result = client.classify("I really love this book")
        print(result.label, result.score)

`Client` and `AsyncClient` call a server; `pipeline` stands in for `transformers.pipeline`;
`classwire.testing` has a fake server for tests; `classwire.v1` has the generated stubs.
"""

from ._reasons import Reason
from ._requests import ClassifyOptions
from ._version import __version__
from .aio import AsyncClient
from .client import Client
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
from .pipeline import TextClassificationPipeline, pipeline
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

"""Classwire's client: typed text in, labelled scores out.

    from classwire import Client

    with Client("127.0.0.1:50051") as client:
        result = client.classify("I really love this book")
        print(result.label, result.score)

`Client` and `AsyncClient` call a server; `pipeline` replaces `transformers.pipeline`;
`classwire.testing` has a fake server for tests; `classwire.v1` has the generated stubs.

The package loads each name at its first use, so importing `classwire.errors` or
`classwire.contract` loads no gRPC.
"""

from ._version import __version__

TYPE_CHECKING = False  # for type checkers it is True; importing typing takes milliseconds
if TYPE_CHECKING:
    from typing import Any

    from ._drop_ins.cross_encoder import CrossEncoder
    from ._drop_ins.pipeline import TextClassificationPipeline, pipeline
    from ._drop_ins.zero_shot_pipeline import ZeroShotClassificationPipeline
    from .aio import AsyncClient
    from .client import Client
    from .contract.reasons import Reason
    from .errors import (
        CancelledError,
        ClasswireError,
        DeadlineExceededError,
        InternalError,
        InvalidInputError,
        MessageTooLargeError,
        OverloadedError,
        PermissionDeniedError,
        PoisonInputError,
        UnauthenticatedError,
        UnavailableError,
        UnimplementedError,
        UnknownModelError,
        UnusableClientError,
    )
    from .options import ClassifyOptions, RankOptions, WindowOptions, ZeroShotOptions
    from .results import (
        CandidateScore,
        Classification,
        Deviation,
        FailedDocument,
        LabelScore,
        Model,
        ModelLimits,
        ModelRef,
        Outcome,
        RankedDocument,
        Ranking,
        ServerInfo,
        ServerLimits,
        StreamItem,
        StreamResult,
        TextInput,
        TextWindow,
        Timing,
        Token,
        Tokenization,
        ZeroShotClassification,
        raise_for_errors,
    )
    from .tls import Tls

__all__ = [
    "AsyncClient",
    "CancelledError",
    "CandidateScore",
    "Classification",
    "ClassifyOptions",
    "ClasswireError",
    "Client",
    "CrossEncoder",
    "DeadlineExceededError",
    "Deviation",
    "FailedDocument",
    "InternalError",
    "InvalidInputError",
    "LabelScore",
    "MessageTooLargeError",
    "Model",
    "ModelLimits",
    "ModelRef",
    "Outcome",
    "OverloadedError",
    "PermissionDeniedError",
    "PoisonInputError",
    "RankOptions",
    "RankedDocument",
    "Ranking",
    "Reason",
    "ServerInfo",
    "ServerLimits",
    "StreamItem",
    "StreamResult",
    "TextClassificationPipeline",
    "TextInput",
    "TextWindow",
    "Timing",
    "Tls",
    "Token",
    "Tokenization",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "UnknownModelError",
    "UnusableClientError",
    "WindowOptions",
    "ZeroShotClassification",
    "ZeroShotClassificationPipeline",
    "ZeroShotOptions",
    "__version__",
    "pipeline",
    "raise_for_errors",
]

_MODULES = {
    "AsyncClient": ".aio",
    "CancelledError": ".errors",
    "CandidateScore": ".results",
    "Classification": ".results",
    "ClassifyOptions": ".options",
    "ClasswireError": ".errors",
    "Client": ".client",
    "CrossEncoder": "._drop_ins.cross_encoder",
    "DeadlineExceededError": ".errors",
    "Deviation": ".results",
    "FailedDocument": ".results",
    "InternalError": ".errors",
    "InvalidInputError": ".errors",
    "LabelScore": ".results",
    "MessageTooLargeError": ".errors",
    "Model": ".results",
    "ModelLimits": ".results",
    "ModelRef": ".results",
    "Outcome": ".results",
    "OverloadedError": ".errors",
    "PermissionDeniedError": ".errors",
    "PoisonInputError": ".errors",
    "RankOptions": ".options",
    "RankedDocument": ".results",
    "Ranking": ".results",
    "Reason": ".contract.reasons",
    "ServerInfo": ".results",
    "ServerLimits": ".results",
    "StreamItem": ".results",
    "StreamResult": ".results",
    "TextClassificationPipeline": "._drop_ins.pipeline",
    "TextInput": ".results",
    "TextWindow": ".results",
    "Timing": ".results",
    "Tls": ".tls",
    "Token": ".results",
    "Tokenization": ".results",
    "UnauthenticatedError": ".errors",
    "UnavailableError": ".errors",
    "UnimplementedError": ".errors",
    "UnknownModelError": ".errors",
    "UnusableClientError": ".errors",
    "WindowOptions": ".options",
    "ZeroShotClassification": ".results",
    "ZeroShotClassificationPipeline": "._drop_ins.zero_shot_pipeline",
    "ZeroShotOptions": ".options",
    "pipeline": "._drop_ins.pipeline",
    "raise_for_errors": ".results",
}
"""Where each public name is defined."""


def __getattr__(name: str) -> "Any":
    from importlib import import_module

    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name], __name__), name)
    globals()[name] = value  # the next use does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Vectors for a server that drains, and a request for each unary method."""

from collections.abc import Mapping

from tests.checkpoints import STARS

from .calls import (
    BATCH_CLASSIFY,
    CLASSIFY,
    GET_MODEL,
    GET_SERVER_INFO,
    LIST_MODELS,
    RANK,
    TOKENIZE,
    ZERO_SHOT_CLASSIFY,
    rejected,
    text,
)
from .encoding import Json
from .problems import DRAINING
from .standard import check, watch
from .stream_errors import broken

GOOD = text("It was good")
EVERY_METHOD: Mapping[str, Json] = {
    CLASSIFY: {"input": GOOD},
    BATCH_CLASSIFY: {"inputs": [GOOD]},
    TOKENIZE: {"input": GOOD},
    RANK: {"query": "good", "documents": ["It was good"], "options": {"label": STARS[0]}},
    ZERO_SHOT_CLASSIFY: {"text": "It was good", "candidateLabels": ["good", "bad"]},
    LIST_MODELS: {},
    GET_MODEL: {},
    GET_SERVER_INFO: {},
}
"""A request for each unary method that every server answers."""


def vectors() -> list[Json]:
    """The group `draining`: every method rejects calls, and health is NOT_SERVING."""
    services = ("", "classwire.v1.ClassifyService", "classwire.v1.ModelService")
    return [
        *(
            rejected(rpc.rpartition("/")[2], rpc, DRAINING, request=request)
            for rpc, request in EVERY_METHOD.items()
        ),
        broken("StreamClassify", [{"message": {"config": {}}}], DRAINING),
        *(check(f"health of {name!r}", name, "NOT_SERVING") for name in services),
        check("health of the model", "classwire.model.stars-en", "NOT_SERVING"),
        watch("watching the health", "", "NOT_SERVING"),
        check("liveness", "classwire.liveness", "SERVING"),
    ]

"""Vectors for a server that authenticates callers."""

from collections.abc import Mapping
from typing import Any

from conformance.limits import token_of

from .calls import (
    BATCH_CLASSIFY,
    CLASSIFY,
    GET_MODEL,
    RANK,
    STREAM_CLASSIFY,
    TOKENIZE,
    classify,
    rejected,
)
from .draining import EVERY_METHOD, GOOD
from .encoding import Json
from .problems import BAD_CREDENTIALS, MISSING_CREDENTIALS, RATE_LIMITED, Problem, unknown_model
from .reference import Reference
from .standard import check, watch
from .streams import config, items, stream


def vectors(models: Mapping[str, Reference]) -> list[Json]:
    """The group `credentials`."""
    reader, narrow, greedy = map(bearer, ("reader", "narrow", "greedy"))
    default, other = models["stars-en"], models["other"]
    start = [config(default), items(("a", GOOD))]
    wrong = {
        "a token of nobody": bearer("nobody"),
        "another one's token": {"authorization": f"Bearer {token_of('reader')[:-1]}x"},
        "no token at all": {"authorization": "Bearer rubbish"},
        "another scheme": {"authorization": f"Basic {token_of('reader')}"},
        "no scheme": {"authorization": token_of("reader")},
    }
    return [
        *(
            rejected(f"{rpc.rpartition('/')[2]} without", rpc, MISSING_CREDENTIALS, request=request)
            for rpc, request in EVERY_METHOD.items()
        ),
        rejected("StreamClassify without", STREAM_CLASSIFY, MISSING_CREDENTIALS, requests=start),
        check("health without", "", "SERVING"),
        watch("watching health without", "", "SERVING"),
        *(_rejected(name, CLASSIFY, BAD_CREDENTIALS, headers) for name, headers in wrong.items()),
        rejected(
            "a stream with a token of nobody",
            STREAM_CLASSIFY,
            BAD_CREDENTIALS,
            requests=start,
            headers=bearer("nobody"),
        ),
        classify("a call with a good token", default, GOOD, headers=reader),
        stream("a stream with a good token", default, [[("a", GOOD)]], headers=reader),
        classify("a model that the caller may use", other, GOOD, headers=narrow),
        _rejected("a model that it may not use", CLASSIFY, unknown_model("model"), narrow),
        _rejected("a model that it may not see", GET_MODEL, unknown_model("name"), narrow),
        *(
            _rejected(f"{rpc.rpartition('/')[2]}, over the rate", rpc, RATE_LIMITED, greedy)
            for rpc in (CLASSIFY, BATCH_CLASSIFY, TOKENIZE, RANK)
        ),
    ]


def bearer(caller: str) -> dict[str, str]:
    """Return the metadata of a caller with a token."""
    return {"authorization": f"Bearer {token_of(caller)}"}


def _rejected(name: str, rpc: str, problem: Problem, headers: Mapping[str, str]) -> Json:
    request: Any = EVERY_METHOD[rpc]
    return rejected(name, rpc, problem, request=request, headers=headers)

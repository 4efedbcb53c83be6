"""Vectors for ModelService, health, compression and unimplemented methods."""

from collections.abc import Mapping

from conformance import limits

from . import texts
from .calls import (
    BATCH_CLASSIFY,
    CLASSIFY,
    GET_MODEL,
    GET_SERVER_INFO,
    HEALTH_CHECK,
    HEALTH_WATCH,
    LIST_MODELS,
    batch,
    classify,
    text,
    tokenize,
    vector,
)
from .encoding import Json
from .reference import Reference
from .streams import stream

SERVICES = ("", "classwire.v1.ClassifyService", "classwire.v1.ModelService")
FEATURES = (
    *("classify", "batch_classify", "stream_classify", "tokenize", "text_pair"),
    *("windows", "rank", "zero_shot_classify"),
)
TASKS = {
    "entailment": ("zero_shot_classify",),
    "inference": ("zero_shot_classify",),
    "rating": ("rank",),
    "spam": ("rank",),
}
"""The tasks of each model besides `classify`."""


def model_vectors(models: Mapping[str, Reference]) -> list[Json]:
    """The group `models`. A page token is the last name of the previous page."""
    default, *others = models
    names = [default, *sorted(others)]
    described = {name: describe(models[name], is_default=name == default) for name in names}

    def page(name: str, start: int, end: int, **request: int | str) -> Json:
        response: Json = {"models": [described[name] for name in names[start:end]]}
        if start == end:
            response = {}
        if end < len(names):
            response["nextPageToken"] = names[end - 1]
        return vector(name, LIST_MODELS, {"response": response}, request=request)

    info = {
        "features": list(FEATURES),
        "limits": {
            "maxMessageBytes": str(limits.MAX_MESSAGE_BYTES),
            "maxStreams": limits.MAX_STREAMS,
            "defaultTimeout": f"{limits.DEFAULT_TIMEOUT_S}s",
        },
    }
    return [
        page("all models", 0, len(names)),
        page("as many as a page may have", 0, len(names), pageSize=1_000),
        page("the first page", 0, 2, pageSize=2),
        page("the second page", 2, 4, pageSize=2, pageToken=names[1]),
        page("the last page", 6, len(names), pageSize=2, pageToken=names[5]),
        page("behind the last model", len(names), len(names), pageToken=names[-1]),
        vector(
            "the default model", GET_MODEL, {"response": {"model": described[default]}}, request={}
        ),
        *(
            vector(
                name, GET_MODEL, {"response": {"model": described[name]}}, request={"name": name}
            )
            for name in names
        ),
        vector("the server", GET_SERVER_INFO, {"response": info}, request={}),
    ]


def describe(reference: Reference, *, is_default: bool) -> Json:
    """Return the Model that a server reports for a checkpoint."""
    model = {
        "name": reference.name,
        "isDefault": is_default,
        "state": "MODEL_STATE_READY",
        "checkpoint": reference.folder.name,
        "architecture": type(reference.model).__name__,
        "labels": reference.labels,
        "problemType": f"PROBLEM_TYPE_{reference.problem_type}",
        "activation": reference.activation,
        "maxTokens": reference.max_tokens,
        "defaultTruncation": "TRUNCATION_REJECT",
        "device": "cpu",
        "precision": reference.ref["precision"],
        "engine": reference.ref["engine"],
        "limits": {
            "maxTextsPerCall": limits.MAX_TEXTS_PER_CALL,
            "maxTextsPerCallWithTokens": limits.MAX_TEXTS_PER_CALL,
            "maxTextBytes": limits.MAX_TEXT_BYTES,
            "streamWindowItems": limits.STREAM_WINDOW_ITEMS,
            "streamItemsPerMessage": limits.STREAM_ITEMS_PER_MESSAGE,
            "maxWindowsPerText": limits.MAX_WINDOWS_PER_TEXT,
            "maxWindowsPerCall": limits.MAX_WINDOWS_PER_CALL,
            "maxTextsPerCallWithWindows": limits.MAX_TEXTS_PER_CALL,
        },
        "fingerprint": reference.fingerprint,
        "tasks": ["classify", *TASKS.get(reference.name, ())],
    }
    return {key: value for key, value in model.items() if value}


def check(name: str, service: str, status: str) -> Json:
    """Return a vector of a service's health."""
    request = {"service": service} if service else {}
    return vector(name, HEALTH_CHECK, {"response": {"status": status}}, request=request)


def watch(name: str, service: str, status: str) -> Json:
    """Return a vector of Watch: the first response; then the client cancels."""
    return vector(
        name,
        HEALTH_WATCH,
        {"first_response": {"status": status}, "error": {"code": "CANCELLED"}},
        request={"service": service} if service else {},
        cancel="after_first_response",
    )


def health_vectors(models: Mapping[str, Reference]) -> list[Json]:
    """The group `health`."""
    known = [*SERVICES, *(f"classwire.model.{name}" for name in models), "classwire.liveness"]
    unknown = ("no.such.Service", "classwire.model.no-such-model", "grpc.health.v1.health")
    not_found = {"error": {"code": "NOT_FOUND"}}
    return [
        *(check(f"check {name!r}", name, "SERVING") for name in known),
        *(watch(f"watch {name!r}", name, "SERVING") for name in known),
        *(
            vector(f"check {name!r}", HEALTH_CHECK, not_found, request={"service": name})
            for name in unknown
        ),
        *(watch(f"watch {name!r}", name, "SERVICE_UNKNOWN") for name in unknown),
    ]


def compression_vectors(models: Mapping[str, Reference]) -> list[Json]:
    """The group `compression`: gzip changes nothing."""
    stars = models["stars-en"]
    love, long = text(texts.PLAIN["a sentence"]), text(texts.words(300))
    tokens = tokenize("tokens", stars, love)
    return [
        classify("a short text", stars, love, compression="gzip"),
        classify("a long text", stars, long, compression="gzip"),
        batch("a batch", stars, [love, long, text(" ")], compression="gzip"),
        stream(
            "a stream",
            stars,
            [[("a", love), ("b", long)], [("c", text(" "))]],
            ordering="ORDERING_IN_ORDER",
            compression="gzip",
        ),
        {**tokens, "compression": "gzip"},
        classify("a bad text", stars, text(" "), compression="gzip"),
    ]


def unimplemented_vectors() -> list[Json]:
    """The group `unimplemented`: gRPC's own status, without Classwire's details."""
    methods = {
        "a method that does not exist": f"{CLASSIFY}Twice",
        "a name in lower case": BATCH_CLASSIFY.lower(),
        "a service that does not exist": "classwire.v1.NoSuchService/Classify",
        "a later version": "classwire.v2.ClassifyService/Classify",
    }
    return [
        vector(name, rpc, {"error": {"code": "UNIMPLEMENTED"}}, request_bytes="")
        for name, rpc in methods.items()
    ]

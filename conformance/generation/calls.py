"""Vectors for the calls of ClassifyService: a request, and the results of direct use."""

from collections.abc import Sequence
from typing import Any

from conformance.checkpoints import EMBEDDED

from .encoding import Json, texts_of, written
from .fitting import window
from .problems import Problem
from .reference import Reference

CLASSIFY = "classwire.v1.ClassifyService/Classify"
BATCH_CLASSIFY = "classwire.v1.ClassifyService/BatchClassify"
STREAM_CLASSIFY = "classwire.v1.ClassifyService/StreamClassify"
TOKENIZE = "classwire.v1.ClassifyService/Tokenize"
RANK = "classwire.v1.ClassifyService/Rank"
ZERO_SHOT_CLASSIFY = "classwire.v1.ClassifyService/ZeroShotClassify"
LIST_MODELS = "classwire.v1.ModelService/ListModels"
GET_MODEL = "classwire.v1.ModelService/GetModel"
GET_SERVER_INFO = "classwire.v1.ModelService/GetServerInfo"
HEALTH_CHECK = "grpc.health.v1.Health/Check"
HEALTH_WATCH = "grpc.health.v1.Health/Watch"


def text(first: str, second: str | None = None) -> Json:
    """Return a TextInput of one text or of two."""
    return {"text": first} if second is None else {"text": first, "textPair": second}


def vector(name: str, rpc: str, expect: Json, **keys: Any) -> Json:
    """Return a vector; `keys` are further keys of the README."""
    return {"name": name, "rpc": rpc, **keys, "expect": expect}


def rejected(name: str, rpc: str, problem: Problem, **keys: Any) -> Json:
    """Return a vector of a call that ends with one of the contract's errors."""
    return vector(name, rpc, {"error": problem.status()}, **keys)


def message(reference: Reference, **fields: Any) -> Json:
    """Return a request to a model, with the fields that are not empty."""
    model = {} if reference.name == EMBEDDED else {"model": reference.name}
    return {key: value for key, value in {**model, **fields}.items() if value}


def classify(
    name: str, reference: Reference, input: Json, options: Json | None = None, **keys: Any
) -> Json:
    """Return a vector of Classify."""
    request = message(reference, input=input, options=options)
    try:
        result = reference.classification(input, options or {})
    except Problem as problem:
        return rejected(name, CLASSIFY, problem.at("input"), request=request, **keys)
    expect = {"response": {"result": result, "model": reference.ref}}
    return vector(name, CLASSIFY, expect, request=request, **keys)


def batch(
    name: str,
    reference: Reference,
    inputs: Sequence[Json],
    options: Json | None = None,
    **keys: Any,
) -> Json:
    """Return a vector of BatchClassify."""
    request = message(reference, inputs=list(inputs), options=options)
    outcomes = [
        reference.outcome(input, options or {}, f"inputs[{place}]")
        for place, input in enumerate(inputs)
    ]
    response = {"outcomes": outcomes} if outcomes else {}
    expect = {"response": {**response, "model": reference.ref}}
    return vector(name, BATCH_CLASSIFY, expect, request=request, **keys)


def tokenize(
    name: str,
    reference: Reference,
    input: Json,
    unit: str = "OFFSET_UNIT_UNSPECIFIED",
    truncation: str = "TRUNCATION_UNSPECIFIED",
    windows: Json | None = None,
) -> Json:
    """Return a vector of Tokenize."""
    request = message(reference, input=input, windows=windows)
    if unit != "OFFSET_UNIT_UNSPECIFIED":
        request["offsetUnit"] = unit
    if truncation != "TRUNCATION_UNSPECIFIED":
        request["truncation"] = truncation
    try:
        reading = reference.reading(input, {"truncation": truncation, "windows": windows or {}})
    except Problem as problem:
        return rejected(name, TOKENIZE, problem.at("input"), request=request)
    given = texts_of(input)
    response = {
        "tokens": [token for part in reading.inputs for token in written(part, given, unit)],
        "attentionMask": [1] * reading.token_count,
        **({"truncatedTokens": reading.lost} if reading.lost else {}),
        "model": reference.ref,
    }
    if truncation == "TRUNCATION_WINDOWS":
        response["windows"] = [
            window(part, given, reading.sequence, unit, ()) for part in reading.inputs
        ]
    return vector(name, TOKENIZE, {"response": response}, request=request)

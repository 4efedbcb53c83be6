"""Vectors for failing models, cancelled calls and short deadlines."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from conformance import limits
from tests.checkpoints import STARS

from . import texts
from .calls import (
    BATCH_CLASSIFY,
    CLASSIFY,
    GET_MODEL,
    RANK,
    STREAM_CLASSIFY,
    TOKENIZE,
    batch,
    classify,
    message,
    rejected,
    text,
    tokenize,
    vector,
)
from .draining import EVERY_METHOD, GOOD
from .encoding import Json
from .problems import (
    DEFECT,
    EXPIRED,
    LOADING,
    OVERLOADED,
    POISON_INPUT,
    WORKER_LOST,
    Problem,
)
from .ranking import rank
from .reference import Reference
from .standard import check, watch
from .stream_errors import broken
from .streams import Items, config, items, started, stream

POISONOUS, BOOM, NAN = text("a poison"), text("boom it went"), text("nan bread")
HELD = text("hold")
"""The text that occupies the engine of `busy`."""

Models = Mapping[str, Reference]


def vectors(models: Models) -> list[Json]:
    """The group `faults`: models of the server `faulty`.

    The stream above the limit comes last, when other vectors' streams have ended.
    """
    return [*_streams(models), *_calls(models), *_states(models), _too_many_streams(models)]


def _streams(models: Models) -> list[Json]:
    busy, frail, lost = models["busy"], models["frail"], models["lost"]
    two: Items = [("a", GOOD), ("b", text("It was bad"))]
    expired = {id_: EXPIRED.outcome() for id_, _ in two}
    late = stream("items that wait for too long", busy, [two], item_timeout="0.100s")
    late["expect"]["results"] = expired
    gone = stream("items without a worker", lost, [two], item_timeout="0.100s")
    gone["expect"]["results"] = expired
    bad: Items = [
        ("1", GOOD), ("poison", POISONOUS), ("2", GOOD), ("boom", BOOM), ("nan", NAN), ("3", GOOD)
    ]  # fmt: skip
    mixed = stream("items that a model fails on", frail, [bad], ordering="ORDERING_IN_ORDER")
    mixed["expect"]["results"] |= {
        "poison": POISON_INPUT.outcome(),
        "boom": DEFECT.outcome(),
        "nan": DEFECT.outcome(),
    }
    return [
        late,
        gone,
        mixed,
        broken("a stream to a model that loads", [config(models["loading"])], LOADING),
    ]


def _calls(models: Models) -> list[Json]:
    busy, frail, lost, loading = (models[name] for name in ("busy", "frail", "lost", "loading"))
    large = [text(texts.words(7, start)) for start in range(8)]
    mixed = batch(
        "a batch with texts that a model fails on", frail, [GOOD, POISONOUS, BOOM, GOOD, NAN]
    )
    for place, problem in ((1, POISON_INPUT), (2, DEFECT), (4, DEFECT)):
        mixed["expect"]["response"]["outcomes"][place] = problem.outcome()
    late = batch("a batch that waits for too long", busy, [GOOD, text("It was bad")])
    late["expect"]["response"]["outcomes"] = [EXPIRED.outcome()] * 2
    return [
        _rejected("a model that loads", loading, LOADING),
        _rejected("a batch to a model that loads", loading, LOADING, BATCH_CLASSIFY, inputs=[GOOD]),
        _rejected("tokens of a model that loads", loading, LOADING, TOKENIZE),
        _rejected("no worker", lost, WORKER_LOST),
        _rejected("a batch and no worker", lost, WORKER_LOST, BATCH_CLASSIFY, inputs=[GOOD]),
        tokenize("tokens without a worker", lost, GOOD),
        _rejected("a text that brings the worker down", frail, POISON_INPUT, input=POISONOUS),
        _rejected("the same text again", frail, POISON_INPUT, input=POISONOUS),
        _rejected("an engine that raises", frail, DEFECT, input=BOOM),
        _rejected("an engine that gives NaN", frail, DEFECT, input=NAN),
        mixed,
        classify("and the next text", frail, text("It was as good as before")),
        _rejected("a call that waits for too long", busy, EXPIRED),
        late,
        _rejected("a full queue", busy, OVERLOADED, BATCH_CLASSIFY, inputs=large),
        _documents(frail),
        _rejected("documents without a worker", lost, WORKER_LOST, RANK, **EVERY_METHOD[RANK]),
    ]


def _documents(frail: Reference) -> Json:
    given = {"label": STARS[2]}
    documents = [GOOD["text"], "a poison", "boom it went", "nan bread", "It was bad"]
    mixed = rank("documents that a model fails on", frail, "good", documents, given)
    response = mixed["expect"]["response"]
    response["results"] = [each for each in response["results"] if each.get("index") in (None, 4)]
    response["failures"] = [
        {"index": index, **problem.outcome()}
        for index, problem in enumerate((POISON_INPUT, DEFECT, DEFECT), start=1)
    ]
    return mixed


def _states(models: Models) -> list[Json]:
    loading = {"name": "loading", "state": "MODEL_STATE_LOADING", "checkpoint": "faulty"}
    return [
        vector(
            "the state of a model that loads",
            GET_MODEL,
            {"response": {"model": loading}},
            request={"name": "loading"},
        ),
        check("the health of a server with a model that loads", "", "NOT_SERVING"),
        check("its liveness", "classwire.liveness", "SERVING"),
        check("the health of a model without a worker", "classwire.model.lost", "NOT_SERVING"),
    ]


def _too_many_streams(models: Models) -> Json:
    most = limits.MAX_STREAMS
    problem = Problem(
        "RESOURCE_EXHAUSTED", "TOO_MANY_STREAMS", metadata={"max_streams": str(most)}, retry=True
    )
    held = most - limits.FAULTY_OWN_STREAMS
    return broken("a stream too many", [config(models["frail"])], problem, held_streams=held)


def _rejected(
    name: str, reference: Reference, problem: Problem, rpc: str = CLASSIFY, **fields: Any
) -> Json:
    request = message(reference, **(fields or {"input": GOOD}))
    return rejected(name, rpc, problem, request=request)


def cancellation_vectors(models: Models) -> list[Json]:
    """The group `cancellation`: calls that would never end, and calls after them.

    A call that ends by itself could end before the client cancels it.
    """
    busy, frail = models["busy"], models["frail"]
    cancelled = {"error": {"code": "CANCELLED"}}
    return [
        vector("a call", CLASSIFY, cancelled, request=message(busy, input=HELD), cancel="at_once"),
        vector(
            "a batch",
            BATCH_CLASSIFY,
            cancelled,
            request=message(busy, inputs=[HELD, GOOD]),
            cancel="at_once",
        ),
        vector(
            "a stream",
            STREAM_CLASSIFY,
            cancelled,
            requests=[config(busy), items(("a", HELD))],
            cancel="at_once",
        ),
        vector(
            "a stream that has started",
            STREAM_CLASSIFY,
            {"first_response": started(busy), **cancelled},
            requests=[config(busy), items(("a", HELD), ("b", GOOD))],
            cancel="after_first_response",
        ),
        watch("a watcher", "classwire.liveness", "SERVING"),
        classify("the next call is answered", frail, GOOD),
        stream("the next stream is answered", frail, [[("a", GOOD)]]),
    ]


def deadline_vectors(models: Models) -> list[Json]:
    """The group `deadlines`: deadlines that pass while the engine computes the call."""
    busy, frail = models["busy"], models["frail"]
    late = {"error": {"code": "DEADLINE_EXCEEDED"}}
    soon, later = 0.2, 0.8
    watched = watch("a watcher", "classwire.liveness", "SERVING")
    watched["expect"] |= late
    watched["timeout_s"] = later
    del watched["cancel"]
    return [
        vector("a call", CLASSIFY, late, request=message(busy, input=HELD), timeout_s=soon),
        vector(
            "a batch", BATCH_CLASSIFY, late, request=message(busy, inputs=[HELD]), timeout_s=soon
        ),
        vector(
            "a stream",
            STREAM_CLASSIFY,
            {"first_response": started(busy), "results": {}, **late},
            requests=[config(busy), items(("a", HELD))],
            timeout_s=later,
        ),
        watched,
        classify("one that is long enough", frail, GOOD, timeout_s=60),
    ]


def models_of(faulty: Reference) -> dict[str, Reference]:
    """Return the models of `faulty` and `guarded`: one checkpoint, constant logits."""
    return {
        name: dataclasses.replace(faulty, name=name, constant_logits=limits.FAULTY_LOGITS)
        for name in ("busy", "frail", "lost", "loading", *limits.GUARDED_MODELS)
    }

"""Bad options: every RPC rejects them and names the field."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub
from tests.contract.conftest import Classify
from tests.contract.conversation import Conversation
from tests.contract.engines import PATIENCE_S
from tests.contract.failures import SECRET, invalid, refusal

UNKNOWN = 99

BAD_OPTIONS: dict[str, tuple[dict[str, Any], str, str, dict[str, str]]] = {
    **{
        name: ({name: UNKNOWN}, "UNKNOWN_ENUM", name, {"value": str(UNKNOWN)})
        for name in ("activation", "truncation", "offset_unit")
    },
    "a negative enum value": ({"activation": -1}, "UNKNOWN_ENUM", "activation", {"value": "-1"}),
    **{
        f"min_score {value} of {activation}": (
            {"min_score": value, "activation": activation},
            "BAD_OPTION",
            "min_score",
            {},
        )
        for activation, values in {
            pb.ACTIVATION_UNSPECIFIED: (math.nan, -0.01, 1.01),
            pb.ACTIVATION_SOFTMAX: (math.nan, math.inf, -math.inf, -0.01, 1.01),
            pb.ACTIVATION_SIGMOID: (math.nan, math.inf, -math.inf, -0.01, 1.01),
            pb.ACTIVATION_IDENTITY: (math.nan, math.inf, -math.inf),
        }.items()
        for value in values
    },
}

bad_options = pytest.mark.parametrize(
    ("options", "reason", "field", "metadata"), BAD_OPTIONS.values(), ids=BAD_OPTIONS.keys()
)
text = pb.TextInput(text=SECRET)


@bad_options
def test_calls_and_streams(
    classifier: ClassifyServiceStub,
    classify: Classify,
    converse: Callable[..., Conversation],
    options: dict[str, Any],
    reason: str,
    field: str,
    metadata: dict[str, str],
) -> None:
    """Calls, batches and streams get the same error; the next call is answered."""
    message = pb.ClassifyOptions(**options)
    unary = pb.ClassifyRequest(input=text, options=message)
    batch = pb.BatchClassifyRequest(inputs=[text], options=message)
    stream = converse(options=message)

    assert refusal(lambda: classifier.Classify(unary, timeout=PATIENCE_S)) == invalid(
        reason, f"options.{field}", **metadata
    )
    assert refusal(lambda: classifier.BatchClassify(batch, timeout=PATIENCE_S)) == invalid(
        reason, f"options.{field}", **metadata
    )
    assert refusal(stream.read) == invalid(reason, f"config.options.{field}", **metadata)
    assert classify("I love it").result.scores


@pytest.mark.parametrize("field", ["truncation", "offset_unit"])
def test_tokenize(classifier: ClassifyServiceStub, field: str) -> None:
    """Tokenize rejects bad values of its two options."""
    request = pb.TokenizeRequest(input=text, **{field: UNKNOWN})  # type: ignore[arg-type]

    failure = refusal(lambda: classifier.Tokenize(request, timeout=PATIENCE_S))

    assert failure == invalid("UNKNOWN_ENUM", field, value=str(UNKNOWN))


def test_unknown_priorities_are_the_default(
    classify: Classify, converse: Callable[..., Conversation]
) -> None:
    """An unknown priority means the default."""
    assert classify("I love it", priority=UNKNOWN).result.scores
    stream = converse(options=pb.ClassifyOptions(priority=UNKNOWN))  # type: ignore[arg-type]
    assert stream.read_started()


def test_unknown_orderings(converse: Callable[..., Conversation]) -> None:
    """An unknown ordering ends the stream with UNKNOWN_ENUM."""
    failure = refusal(converse(ordering=UNKNOWN).read)

    assert failure == invalid("UNKNOWN_ENUM", "config.ordering", value=str(UNKNOWN))


@pytest.mark.parametrize(
    "timeout",
    [
        Duration(),
        Duration(seconds=-1),
        Duration(nanos=-1),
        Duration(seconds=1, nanos=1_000_000_000),
        Duration(seconds=315_576_000_001),
        Duration(seconds=1, nanos=-500_000_000),
    ],
    ids=str,
)
def test_item_timeouts(converse: Callable[..., Conversation], timeout: Duration) -> None:
    """An item timeout that is no positive, valid duration ends the stream with BAD_OPTION."""
    assert refusal(converse(item_timeout=timeout).read) == invalid(
        "BAD_OPTION", "config.item_timeout"
    )


def test_pages(models: ModelServiceStub) -> None:
    """A page of over 1,000 models and a bad page token get BAD_OPTION."""
    too_large = pb.ListModelsRequest(page_size=1_001)
    astray = pb.ListModelsRequest(page_token=SECRET)

    assert refusal(lambda: models.ListModels(too_large, timeout=PATIENCE_S)) == invalid(
        "BAD_OPTION", "page_size", max_page_size="1000"
    )
    assert refusal(lambda: models.ListModels(astray, timeout=PATIENCE_S)) == invalid(
        "BAD_OPTION", "page_token"
    )
    assert models.ListModels(pb.ListModelsRequest(page_size=1_000), timeout=PATIENCE_S).models

"""The reference checkpoint, if a folder with it is given.

CLASSWIRE_NLPTOWN_FOLDER names a folder with its config and vocabulary; the test makes random
weights. CLASSWIRE_NLPTOWN_WEIGHTS names a folder with its real weights too. Tests whose folder is
not named are skipped.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import torch
from transformers import AutoConfig, BertForSequenceClassification

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.config.server_config import ServerConfig
from classwire_server.server import Server
from tests.parity.direct import TEXTS, Direct, largest_difference
from tests.parity.wire import WAYS, Way, alone, scores_by_id

FOLDER = os.environ.get("CLASSWIRE_NLPTOWN_FOLDER", "")
WEIGHTS = os.environ.get("CLASSWIRE_NLPTOWN_WEIGHTS", "")
GOLDEN: dict[str, list[dict[str, Any]]] = json.loads(
    Path(__file__).with_name("nlptown_golden.json").read_text(encoding="utf-8")
)

needs_folder = pytest.mark.skipif(
    not FOLDER,
    reason="CLASSWIRE_NLPTOWN_FOLDER names no folder of the shape",
)
needs_weights = pytest.mark.skipif(
    not WEIGHTS, reason="CLASSWIRE_NLPTOWN_WEIGHTS names no folder with the reference weights"
)


@pytest.fixture(scope="module")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the reference's shape and vocabulary, with random weights."""
    folder = tmp_path_factory.mktemp("nlptown")
    torch.manual_seed(0)
    BertForSequenceClassification(AutoConfig.from_pretrained(FOLDER)).save_pretrained(folder)
    for file in Path(FOLDER).iterdir():
        if file.name != "config.json" and file.suffix in {".txt", ".json"}:
            shutil.copyfile(file, folder / file.name)
    return folder


@pytest.fixture(scope="module")
def full_size_channel(full_size: Path) -> Iterator[grpc.Channel]:
    """A channel to a server with that checkpoint."""
    config = ServerConfig(model=(f"nlptown={full_size}",), port=0)
    with Server(config) as server, grpc.insecure_channel(server.target) as channel:
        yield channel


@needs_folder
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_full_size_scores_are_those_of_direct_use(
    full_size: Path, full_size_channel: grpc.Channel, way: Way
) -> None:
    """Each RPC gives the scores of direct use to 1e-5 at the reference checkpoint's size too."""
    direct = Direct.load(full_size)
    answers = way(full_size_channel, TEXTS, "nlptown")
    expected = [direct.scores(text) for text in TEXTS]
    assert largest_difference([scores_by_id(answer) for answer in answers], expected) <= 1e-5


@needs_folder
@pytest.mark.parametrize("row", GOLDEN["tokenization"], ids=lambda row: row["text"])
def test_published_token_ids(full_size_channel: grpc.Channel, row: dict[str, Any]) -> None:
    """Tokenize gives the token ids that others have published for the reference vocabulary."""
    request = pb.TokenizeRequest(input=pb.TextInput(text=row["text"]))
    tokens = ClassifyServiceStub(full_size_channel).Tokenize(request, timeout=60).tokens
    assert [token.id for token in tokens] == row["ids"]


@needs_weights
def test_published_logits(
    serve: Callable[..., Server], connect: Callable[[str], grpc.Channel]
) -> None:
    """The real weights give the published logits and probabilities, to the digits published."""
    classify = ClassifyServiceStub(connect(serve(model=(f"nlptown={WEIGHTS}",)).target)).Classify
    options = pb.ClassifyOptions(include_logits=True)
    for row in GOLDEN["logits"]:
        request = pb.ClassifyRequest(input=pb.TextInput(text=row["text"]), options=options)
        result = classify(request, timeout=60).result
        assert list(result.logits) == pytest.approx(row["logits"], abs=1e-4)
        assert scores_by_id(result) == pytest.approx(row["probs"], abs=1e-4)


@needs_weights
def test_published_scores(
    serve: Callable[..., Server], connect: Callable[[str], grpc.Channel]
) -> None:
    """The real weights give published scores: float32 ones to 1e-5, int8 ones nearly."""
    channel = connect(serve(model=(f"nlptown={WEIGHTS}",)).target)
    for row in GOLDEN["scores"]:
        (result,) = alone(channel, [row["text"]], "nlptown")
        tolerance = 1e-5 if "tol" in row else 0.05
        if "probs" in row:
            assert scores_by_id(result) == pytest.approx(row["probs"], abs=tolerance)
        else:
            label, score = row["top1"]
            assert result.scores[0].label == label
            assert result.scores[0].score == pytest.approx(score, abs=tolerance)

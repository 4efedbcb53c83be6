"""Scores over the wire are those of direct transformers use, to 1e-5."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BertForSequenceClassification
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub
from classwire_server.checkpoint.loading import load_checkpoint
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Deviation, Launched
from classwire_server.engine.forward.attention import ATTENTION, TextBounds
from classwire_server.engine.forward.packed import PackedEngine, PackedModel
from classwire_server.server import Server
from tests.checkpoints import ARCHITECTURES, PACKS
from tests.conftest import launch_forked
from tests.contract.engines import PROFILE
from tests.contract.failures import invalid, refusal
from tests.parity.direct import TEXTS, Direct, Pairable, largest_difference
from tests.parity.wire import WAYS, Way, alone, in_a_batch, scores_by_id
from tests.workers import InProcessEngine

TOLERANCE = 1e-5
NOT_PACKED = {"xlnet", "deberta-v2", "gpt2", "bart", "mpnet", "phi3", "big-bird"}
if not PACKS:
    NOT_PACKED = {*ARCHITECTURES, "embedded"}
needs_packing = pytest.mark.skipif(not PACKS, reason="this transformers replaces no attention")
VARIANTS: dict[str, dict[str, Any]] = {
    "multi-label": {"problem_type": "multi_label_classification", "labels": ("a", "b", "c")},
    "regression": {"problem_type": "regression", "labels": ("score",)},
    "one-label": {"labels": ("relevant",)},
    "float16": {"dtype": torch.float16},
    "bfloat16": {"dtype": torch.bfloat16},
}

Folders = dict[str, Path]


@pytest.fixture(scope="module")
def folders(checkpoint: Callable[..., Path], embedded_folder: Path) -> Folders:
    """A checkpoint of each architecture and variant, by the name it is served under."""
    made = {name: checkpoint(name) for name in ARCHITECTURES}
    made |= {name: checkpoint("bert", **options) for name, options in VARIANTS.items()}
    return made | {"embedded": embedded_folder}


@pytest.fixture(scope="module")
def channel(folders: Folders) -> Iterator[grpc.Channel]:
    """A channel to a server with all of them."""
    models = tuple(f"{name}={folder}" for name, folder in folders.items())
    with (
        Server(ServerConfig(model=models, port=0), launch_forked) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        yield channel


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("name", [*ARCHITECTURES, *VARIANTS, "embedded"])
def test_scores_are_those_of_direct_use(
    channel: grpc.Channel, folders: Folders, name: str, way: Way
) -> None:
    """Each RPC gives the scores of direct use, with the labels and order of config.id2label."""
    direct = Direct.load(folders[name])
    answers = way(channel, TEXTS, name)
    expected = [direct.scores(text) for text in TEXTS]
    assert largest_difference([scores_by_id(answer) for answer in answers], expected) <= TOLERANCE
    for answer in answers:
        assert [direct.labels[s.label_id] for s in answer.scores] == [
            s.label for s in answer.scores
        ]
        assert all(left.score >= right.score for left, right in pairwise(answer.scores))
        assert len(answer.scores) == len(direct.labels)


@pytest.mark.parametrize("name", [*ARCHITECTURES, "embedded"])
def test_architectures_are_packed(channel: grpc.Channel, name: str) -> None:
    """Encoders with plain attention run packed, none with transformers 4. No model deviates by more
    than 1e-5.
    """
    model = ModelServiceStub(channel).GetModel(pb.GetModelRequest(name=name), timeout=60).model
    expected = pb.LAYOUT_PADDED if name in NOT_PACKED else pb.LAYOUT_PACKED
    assert model.engine.layout == expected
    assert model.deviation.texts > 1
    assert model.deviation.max_score_difference <= TOLERANCE
    assert model.deviation.label_agreement == 1.0


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_one_changed_token_changes_the_scores(folders: Folders, name: str) -> None:
    """The random checkpoints are sensitive: another word moves a score by more than 0.05."""
    direct = Direct.load(folders[name])
    words = ("book", "room", "hotel", "work")
    scores = [direct.scores(f"I really love this {word}, and it was good") for word in words]
    moves = [largest_difference([scores[0]], [other]) for other in scores[1:]]
    assert max(moves) > 0.05


@pytest.fixture
def unchecked_difference(serve: Callable[..., Server], folders: Folders) -> Callable[[Way], float]:
    """Measures the difference from direct use on a tiny BERT without the server's parity check."""

    def unchecked(source: ModelSource, config: ServerConfig, on_change: Any) -> Launched:
        checkpoint, model, _ = load_checkpoint(source, config)
        engine = PackedEngine(PackedModel(model, checkpoint.input_names), "cpu")
        return Launched(checkpoint, InProcessEngine(engine, Deviation(0, 1.0, 0.0)), 1_024, PROFILE)

    def difference(way: Way) -> float:
        server = serve(unchecked, model=(f"bert={folders['bert']}",))
        direct = Direct.load(folders["bert"])
        with grpc.insecure_channel(server.target) as channel:
            answers = way(channel, TEXTS, "bert")
        expected = [direct.scores(text) for text in TEXTS]
        return largest_difference([scores_by_id(answer) for answer in answers], expected)

    return difference


@needs_packing
def test_parity_holds_without_the_parity_check(
    unchecked_difference: Callable[[Way], float],
) -> None:
    """The packed engine is right by itself, not because the parity check chose another engine."""
    assert unchecked_difference(in_a_batch) <= TOLERANCE


@needs_packing
def test_parity_needs_positions_that_restart(
    unchecked_difference: Callable[[Way], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With position ids that do not restart with each text the scores are wrong."""
    monkeypatch.setattr(PackedEngine, "position_ids", lambda self, texts: np.arange(len(texts.ids)))
    assert unchecked_difference(in_a_batch) > 0.05


@needs_packing
def test_parity_needs_attention_within_texts(
    unchecked_difference: Callable[[Way], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With attention across the whole row the scores are wrong."""
    own = ALL_ATTENTION_FUNCTIONS[ATTENTION]

    def across(*inputs: Any, text_bounds: TextBounds, **options: Any) -> Any:
        whole = TextBounds(*(bounds[[0, -1]] for bounds in text_bounds))
        return own(*inputs, text_bounds=whole, **options)

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS, ATTENTION, across)
    assert unchecked_difference(in_a_batch) > 0.05


@pytest.mark.parametrize("logits", [(-60.0, 30.0), (-1e4, 1e4), (1e4, 1e4)])
def test_softmax_survives_extreme_logits(
    checkpoint: Callable[..., Path],
    serve: Callable[..., Server],
    connect: Callable[[str], grpc.Channel],
    tmp_path: Path,
    logits: tuple[float, float],
) -> None:
    """Logits of [-60, 30] and of up to 1e4 in magnitude give torch's scores, and no NaN."""
    source = checkpoint("bert", labels=("no", "yes"))
    model = BertForSequenceClassification.from_pretrained(source)
    torch.nn.init.zeros_(model.classifier.weight)
    model.classifier.bias.data = torch.tensor(logits)
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(source).save_pretrained(tmp_path)
    channel = connect(serve(model=(f"extreme={tmp_path}",)).target)
    (answer,) = alone(channel, ["I really love this book"], "extreme")
    expected = torch.tensor(logits, dtype=torch.float64).softmax(dim=0).tolist()
    assert scores_by_id(answer) == pytest.approx(expected, rel=1e-6, abs=1e-38)


@pytest.mark.parametrize("text", ["a <pad> b", "<pad>", "x</s>y <s>"])
def test_special_tokens_in_the_text(channel: grpc.Channel, folders: Folders, text: str) -> None:
    """A padding token inside a text gets the position id that RoBERTa gives it."""
    texts: list[Pairable] = [text, "I really love this book"]
    direct = Direct.load(folders["roberta"])
    answers = in_a_batch(channel, texts, "roberta")
    expected = [direct.scores(text) for text in texts]
    assert largest_difference([scores_by_id(answer) for answer in answers], expected) <= TOLERANCE


def test_a_pair_for_a_model_without_pairs(
    serve: Callable[..., Server], checkpoint: Callable[..., Path]
) -> None:
    """A model with one token type has the scores of direct use for single texts. A pair gets
    BAD_OPTION, which names the field.
    """
    folder = checkpoint("bert", type_vocab_size=1)
    server = serve(model=(f"bert={folder}",))
    text = "I really love this book"
    with grpc.insecure_channel(server.target) as channel:
        (answer,) = alone(channel, (text,), "bert")
        request = pb.ClassifyRequest(input=pb.TextInput(text=text, text_pair="so much"))
        stub = ClassifyServiceStub(channel)
        error = refusal(lambda: stub.Classify(request, timeout=60))
    assert largest_difference([scores_by_id(answer)], [Direct.load(folder).scores(text)]) < 1e-5
    assert error == invalid("BAD_OPTION", "input.text_pair")

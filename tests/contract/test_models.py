"""ModelService: pages of models, their fields and limits."""

import re
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub
from classwire_server import __version__
from classwire_server.server import Server
from tests.contract.conversation import Conversation
from tests.contract.engines import PATIENCE_S, FakeEngine
from tests.contract.failures import SECRET

Connect = Callable[[str], grpc.Channel]


@pytest.fixture
def three(fake: Callable[..., Server], connect: Connect, bert: Path) -> grpc.Channel:
    """A channel to a server of three models."""
    return connect(fake(FakeEngine(), model=(f"m={bert}", f"z={bert}", f"a={bert}")).target)


@pytest.mark.parametrize("page_size", [0, 1, 2, 3, 1_000])
def test_pages(three: grpc.Channel, page_size: int) -> None:
    """Pages list every model once: the default first, then by name."""
    stub = ModelServiceStub(three)
    names: list[str] = []
    sizes: list[int] = []
    token = ""
    while not sizes or token:
        request = pb.ListModelsRequest(page_size=page_size, page_token=token)
        page = stub.ListModels(request, timeout=PATIENCE_S)
        names += [model.name for model in page.models]
        sizes.append(len(page.models))
        token = page.next_page_token

    assert names == ["m", "a", "z"]
    assert sizes == {0: [3], 1: [1, 1, 1], 2: [2, 1], 3: [3], 1_000: [3]}[page_size]


def test_models_by_name(three: grpc.Channel) -> None:
    """Every call reaches the model it names, or the default model without a name."""
    classify = ClassifyServiceStub(three).Classify
    get = ModelServiceStub(three).GetModel
    text = pb.TextInput(text=SECRET)
    for name, served in (("", "m"), ("m", "m"), ("a", "a"), ("z", "z")):
        answer = classify(pb.ClassifyRequest(input=text, model=name), timeout=PATIENCE_S)
        model = get(pb.GetModelRequest(name=name), timeout=PATIENCE_S).model
        with Conversation(three, model=name) as stream:
            started = stream.read_started()
        assert answer.model.name == model.name == started.model.name == served
        assert model.is_default == (served == "m")


def test_fields(models: ModelServiceStub, bert: Path) -> None:
    """ListModels and GetModel return the same model, with every field set."""
    model = models.GetModel(pb.GetModelRequest(), timeout=PATIENCE_S).model

    [listed] = models.ListModels(pb.ListModelsRequest(), timeout=PATIENCE_S).models
    assert listed == model
    assert re.fullmatch("[0-9a-f]{64}", model.fingerprint)
    assert model.deviation.texts > 0
    assert model.deviation.label_agreement == 1.0
    assert model.deviation.max_score_difference <= 1e-5
    model.ClearField("fingerprint")
    model.ClearField("deviation")
    assert model == pb.Model(
        name="tiny",
        is_default=True,
        state=pb.MODEL_STATE_READY,
        checkpoint=bert.name,
        architecture="BertForSequenceClassification",
        labels=["1 star", "2 stars", "3 stars", "4 stars", "5 stars"],
        problem_type=pb.PROBLEM_TYPE_SINGLE_LABEL_CLASSIFICATION,
        activation=pb.ACTIVATION_SOFTMAX,
        max_tokens=512,
        default_truncation=pb.TRUNCATION_REJECT,
        device="cpu",
        precision=pb.PRECISION_FLOAT32,
        engine=pb.Engine(execution=pb.EXECUTION_PLAIN, layout=pb.LAYOUT_PACKED),
        limits=pb.ModelLimits(
            max_texts_per_call=16,
            max_texts_per_call_with_tokens=16,
            max_text_bytes=65_536,
            stream_window_items=16,
            stream_items_per_message=4,
            max_windows_per_text=64,
            max_windows_per_call=512,
            max_texts_per_call_with_windows=16,
        ),
        tasks=["classify"],
    )


def test_settings_in_the_model(
    fake: Callable[..., Server], connect: Connect, checkpoint: Callable[..., Path]
) -> None:
    """Limits and truncation come from the settings, the problem type from the checkpoint."""
    folder = checkpoint("bert", labels=("x",), problem_type="regression")
    settings = {"max_tokens": 100, "truncation": "drop_start", "max_text_bytes": 1_000}
    server = fake(FakeEngine(logits=[0.5]), model=(f"m={folder}",), **settings)

    stub = ModelServiceStub(connect(server.target))
    model = stub.GetModel(pb.GetModelRequest(), timeout=PATIENCE_S).model

    assert model.problem_type == pb.PROBLEM_TYPE_REGRESSION
    assert model.activation == pb.ACTIVATION_IDENTITY
    assert (model.max_tokens, model.limits.max_text_bytes) == (100, 1_000)
    assert model.default_truncation == pb.TRUNCATION_DROP_START


def test_server_info(fake: Callable[..., Server], connect: Connect) -> None:
    """GetServerInfo returns version, features and limits."""
    server = fake(FakeEngine(), max_message_bytes=1 << 20, max_streams=7, default_timeout_s=1.5)

    info = ModelServiceStub(connect(server.target)).GetServerInfo(
        pb.GetServerInfoRequest(), timeout=PATIENCE_S
    )

    assert info.version == __version__
    assert {"classify", "batch_classify", "stream_classify", "tokenize"} <= set(info.features)
    assert info.limits == pb.ServerLimits(
        max_message_bytes=1 << 20,
        max_streams=7,
        default_timeout=Duration(seconds=1, nanos=500_000_000),
    )

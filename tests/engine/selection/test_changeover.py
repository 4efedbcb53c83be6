"""The changeover from the plain engine to the compiled one, during live calls."""

import functools
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import torch

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Deviation, Execution
from classwire_server.engine.compilation import export as compilation
from classwire_server.engine.compilation import process as compile_process
from classwire_server.engine.selection import changeover
from classwire_server.engine.selection.choice import Selection, select
from classwire_server.engine.worker.pool import launch
from classwire_server.errors import CompileError
from classwire_server.server import Server
from tests import faults
from tests.compiled import TINY, Compiled
from tests.contract.engines import eventually
from tests.parity.direct import TEXTS, Direct, largest_difference
from tests.parity.wire import scores_by_id, text_input

pytestmark = pytest.mark.timeout(300)  # the first test that needs the compiled model compiles it


def test_callers_go_on_while_the_engine_changes(
    compiled: Compiled, serve: Callable[..., Server], connect: Callable[[str], grpc.Channel]
) -> None:
    """The plain engine answers, then the compiled one, both with the right scores. Responses name
    the engine, texts share its batches, and GetModel has its deviation.
    """
    cache = Path(compiled.config.compile_cache)
    server = serve(
        functools.partial(launch, spawn=faults.spawn_with(faults.changes_over_on_signal)),
        model=(f"tiny={compiled.source.location}",),
        compile=True,
        compile_cache=str(cache),
        lanes=1,
        batch_tokens=1 << 20,
    )
    channel = connect(server.target)
    direct = Direct.load(Path(compiled.source.location))
    expected = [direct.scores(text) for text in TEXTS]
    request = pb.BatchClassifyRequest(inputs=map(text_input, TEXTS))

    def execution(_: int = 0) -> int:
        response = ClassifyServiceStub(channel).BatchClassify(request, timeout=60)
        answers = [scores_by_id(outcome.classification) for outcome in response.outcomes]
        assert largest_difference(answers, expected) <= 1e-5
        assert response.timing.batch_texts >= len(TEXTS)
        return int(response.model.engine.execution)

    assert execution() == pb.EXECUTION_PLAIN
    with ThreadPoolExecutor(4) as callers:
        faults.changeover_signal(str(cache)).touch()
        seen = [*callers.map(execution, range(40))]
        assert eventually(lambda: execution() == pb.EXECUTION_COMPILED)
        assert set(callers.map(execution, range(8))) == {pb.EXECUTION_COMPILED}
    assert set(seen) <= {pb.EXECUTION_PLAIN, pb.EXECUTION_COMPILED}
    models = ModelServiceStub(channel)

    def described() -> bool:
        model = models.GetModel(pb.GetModelRequest(), timeout=60).model
        return bool(model.engine.execution == pb.EXECUTION_COMPILED)

    assert eventually(described)
    deviation = models.GetModel(pb.GetModelRequest(), timeout=60).model.deviation
    assert deviation.texts > 0
    assert 0 < deviation.max_score_difference <= 1e-5


@pytest.fixture
def configure(
    checkpoint: Callable[..., Path], compiled: Compiled, few_texts: str
) -> Callable[..., ServerConfig]:
    """The settings of a server with a tiny model."""

    def configure(architecture: str = "bert", **settings: Any) -> ServerConfig:
        sizes = {} if architecture == "xlnet" else TINY
        return ServerConfig(
            model=(f"tiny={checkpoint(architecture, **sizes)}",),
            compile_cache=compiled.config.compile_cache,
            batch_tokens=256,
            calibration=few_texts,
            **settings,
        )

    return configure


@pytest.fixture
def choose_plain(configure: Callable[..., ServerConfig]) -> Callable[..., Selection]:
    """Selects a plain engine in the test's own process."""

    def choose(*architecture: str, **settings: Any) -> Selection:
        config = configure(*architecture, **settings)
        return select(config.sources[0], config, "cpu")

    return choose


@pytest.fixture
def choose(
    configure: Callable[..., ServerConfig], choose_plain: Callable[..., Selection]
) -> Callable[..., Any]:
    """Selects a plain engine, and tries the changeover."""

    def choose(*architecture: str, **settings: Any) -> Any:
        config = configure(*architecture, **settings)
        selection = choose_plain(*architecture, **settings)
        return changeover.compiled(selection, config.sources[0], config)

    return choose


def test_a_deterministic_engine_is_compiled(choose: Callable[..., Any]) -> None:
    """With --deterministic the compiled engine runs one text at a time."""
    runner, deviation = choose(deterministic=True)
    assert runner.traits.execution is Execution.COMPILED
    assert type(runner).__name__ == "OneByOne"
    assert deviation.max_score_difference <= 1e-5


def test_wrong_scores_are_not_changed_over_to(
    choose: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The changeover rejects compiled code with other scores, and logs the difference."""

    class Wrong(compilation.CompiledModel):
        def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
            return super().__call__(*inputs) + torch.tensor([0.001, 0, 0, 0, 0])

    monkeypatch.setattr(compilation, "CompiledModel", Wrong)
    assert choose() is None
    (line,) = caplog.messages
    assert line.startswith("tiny: not compiled, goes on uncompiled: logits would move by ")


def test_without_a_compiler_the_plain_engine_goes_on(
    choose: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """A failed compilation logs one line, and the plain engine goes on."""

    def fail(*job: object) -> Any:
        raise CompileError("there is no C++ compiler")

    monkeypatch.setattr(compile_process, "compile_elsewhere", fail)
    caplog.set_level(logging.INFO, "classwire_server")
    assert choose("bert", precision="bfloat16") is None
    assert "tiny: compiling in the background" in caplog.messages
    line = "tiny: not compiled, goes on uncompiled: there is no C++ compiler"
    assert line in caplog.messages


def test_what_cannot_be_packed_is_not_compiled(
    choose: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A model that cannot be packed is not compiled, and the log says why."""
    assert choose("xlnet") is None
    assert any("only models that can be packed are compiled" in m for m in caplog.messages)


def test_a_library_of_another_model(
    choose: Callable[..., Any], compiled: Compiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The changeover rejects code for other weights under the right key."""
    monkeypatch.setattr(compilation, "artefact_key", lambda *_: compiled.artefact.folder.name)
    assert choose("roberta") is None


def test_compiled_scores_may_be_no_worse(choose_plain: Callable[..., Selection]) -> None:
    """In lower precision compiled scores must be about as close to float32 as the plain engine's,
    or within the limits; in float32, within 1e-5.
    """
    lenient, strict = ServerConfig(max_score_difference=0.5), ServerConfig()
    accept = changeover.is_acceptable
    int8 = replace(choose_plain(precision="int8"), deviation=Deviation(100, 0.9, 0.2))
    other = Deviation(100, 0.995, 0.31)
    assert accept(Deviation(100, 0.9, 0.29), int8, strict)
    assert not accept(other, int8, strict)
    assert accept(other, int8, lenient)
    assert accept(Deviation(100, 0.895, 0.1), int8, strict)
    assert not accept(Deviation(100, 0.885, 0.1), int8, strict)
    float32 = choose_plain()
    assert accept(Deviation(8, 1.0, 9e-6), float32, lenient)
    assert not accept(Deviation(8, 1.0, 2e-5), float32, lenient)

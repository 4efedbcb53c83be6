"""A shadow compares two models, and no caller notices."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from classwire import Client
from classwire.v1 import classwire_pb2 as pb
from classwire_server.cli.check import findings
from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import ConfigError, StartError
from classwire_server.observability.shadow.shadow import MAX_WAITING
from classwire_server.server import Server
from classwire_server.tokenization import Encoding, Text
from tests.admin.operator import Operator
from tests.contract.conversation import Conversation, item
from tests.contract.engines import LOGITS, PATIENCE_S, FakeEngine, eventually
from tests.observability.metrics.scrape import Scrape
from tests.observability.shadow.conftest import Shadowed
from tests.registry.predictions.engine import NumberedEngine, logits_of


def softmax(logits: Any) -> np.ndarray:
    """The scores by label id."""
    exponentials = np.exp(np.array(logits, np.float64))
    scores: np.ndarray = exponentials / exponentials.sum()
    return scores


def test_agreement_and_difference(shadowed: Shadowed) -> None:
    """The metrics count texts with the same highest label and with another, and the difference of
    the other model's score for the label.
    """
    pair = shadowed(FakeEngine())  # it gives each text the last label
    pair.classify("4")
    pair.must(lambda pair: pair.texts("agreed") == 1)
    pair.classify("1")
    pair.must(lambda pair: pair.texts("differed") == 1)
    difference = Scrape(pair.server).value("classwire_shadow_score_difference_sum")

    expected = softmax(logits_of("1"))[1] - softmax(LOGITS)[1]
    assert difference == pytest.approx(expected, abs=1e-6)
    assert pair.new.texts == ["4", "1"]
    assert pair.new.yielding == [True, True]  # bulk work


def test_callers_see_nothing_of_it(shadowed: Shadowed) -> None:
    """The answer is that of the model. The texts are none of the other model's own."""
    pair = shadowed(FakeEngine())
    answer = pair.classify("1")
    pair.must(lambda pair: pair.texts("differed") == 1)
    now = Scrape(pair.server)

    assert answer.model.name == "old"
    assert answer.result.scores[0].label_id == 1
    assert now.value("classwire_texts_total", model="new") == 0
    assert now.value("classwire_labels_total", model="new") == 0


def test_a_text_in_windows(shadowed: Shadowed) -> None:
    """The other model reads a long text in windows as one text. A text that was cut is left out."""
    pair = shadowed()
    request = pb.ClassifyRequest(input=pb.TextInput(text=f"3 {' '.join(map(str, range(700)))}"))
    request.options.truncation = pb.TRUNCATION_DROP_END
    pair.stub.Classify(request, timeout=PATIENCE_S)
    request.options.truncation = pb.TRUNCATION_WINDOWS
    pair.stub.Classify(request, timeout=PATIENCE_S)
    pair.must(lambda pair: pair.texts("agreed") == 1)

    assert len(pair.new.texts) > 1  # windows, of one text
    assert sum(map(pair.texts, ("agreed", "differed", "shed", "failed"))) == 1


def test_nobody_waits_for_it(shadowed: Shadowed) -> None:
    """While the other model is stuck on a text of the shadow, callers of both models are answered.
    At most MAX_WAITING texts wait, and further ones are shed.
    """
    pair = shadowed()
    pair.classify("slow 1")
    pair.new.wait_for(lambda engine: engine.texts == ["slow 1"])
    for _ in range(MAX_WAITING + 3):
        pair.classify("2")
    pair.classify("3", model="new")

    assert pair.texts("shed") == 3
    assert pair.new.texts == ["slow 1", "3"]
    assert pair.new.urgent == [False, True]
    pair.new.release()
    pair.must(lambda pair: pair.texts("agreed") == 1 + MAX_WAITING)


@pytest.mark.parametrize("busy", ["old", "new"])
def test_it_is_shed_first(shadowed: Shadowed, busy: str) -> None:
    """While a model has work of a caller, the server sheds the texts of the shadow."""
    pair = shadowed(may_block=True, cache_mb=1)
    pair.classify("2")
    pair.must(lambda pair: pair.texts("agreed") == 1)
    engine = pair.old if busy == "old" else pair.new
    request = pb.ClassifyRequest(model=busy, input=pb.TextInput(text="slow 1"))
    slow = pair.stub.Classify.future(request, timeout=PATIENCE_S)
    engine.wait_for(lambda engine: "slow 1" in engine.texts)
    pair.classify("2")  # answered from the cache
    pair.must(lambda pair: pair.texts("shed") == 1)

    assert pair.texts("agreed") == 1
    engine.release()
    slow.result()


def test_the_callers_end_is_not_its_end(shadowed: Shadowed) -> None:
    """A caller's deadline and cancellation, after its answer, do not end the text of the shadow."""
    pair = shadowed()
    pair.classify("1 slow", timeout=5)
    pair.new.wait_for(lambda engine: engine.texts == ["1 slow"])
    with Conversation(pair.channel) as talk:
        talk.read_started()
        talk.send_items(item("a", "2"))
        talk.read_results(1)
        talk.call.cancel()
    pair.new.release()

    pair.must(lambda pair: pair.texts("agreed") == 2)


def test_texts_without_an_answer(shadowed: Shadowed) -> None:
    """A text that the model cannot score, or that ends its process, never reaches the shadow."""
    pair = shadowed()
    for text in ("nan", "deadly", " "):
        with pytest.raises(grpc.RpcError):
            pair.classify(text)
    pair.classify("1")
    pair.must(lambda pair: pair.texts("agreed") == 1)

    assert pair.new.texts == ["1"]


def test_a_text_that_the_other_cannot_score(shadowed: Shadowed) -> None:
    """It counts as failed, and the shadow goes on."""

    class Sturdy(NumberedEngine):
        def infer(self, *args: Any, **options: Any) -> Any:
            done = super().infer(*args, **options)
            if "2" in args[0][0].source.text:
                done.values[:] = np.nan
            return done

    pair = shadowed(Sturdy())
    pair.classify("2")
    pair.must(lambda pair: pair.texts("failed") == 1)
    pair.classify("1")
    pair.must(lambda pair: pair.texts("agreed") == 1)


def test_a_text_that_ends_the_other(shadowed: Shadowed) -> None:
    """The shadow stops when a text ends the other model's process; its callers are still served."""

    class Fragile(NumberedEngine):
        def infer(self, encodings: Any, *args: Any) -> Any:
            is_fatal = any("2" in each.source.text for each in encodings)
            deadly = Encoding([0], [0], 0, Text("deadly"))
            return super().infer([deadly] if is_fatal else encodings, *args)

    pair = shadowed(Fragile())
    pair.classify("2")
    pair.must(lambda pair: not pair.is_running)
    pair.classify("1")

    assert pair.classify("1", model="new").model.name == "new"
    assert sum(map(pair.texts, ("agreed", "differed", "shed"))) == 0


def test_it_stops_with_its_model(shadowed: Shadowed) -> None:
    """It stops when its model fails, drops its text, and runs again only with a model that was
    loaded since.
    """
    pair = shadowed(admin_port=0)
    pair.classify("1 slow")
    pair.new.wait_for(lambda engine: engine.texts == ["1 slow"])
    pair.new.lose()
    pair.must(lambda pair: not pair.is_running)
    pair.new.come_back()
    pair.classify("2")
    pair.new.release()
    assert not pair.is_running
    with grpc.insecure_channel(pair.server.admin_target) as channel:
        Operator(channel).reload("new")
        pair.must(lambda pair: pair.is_running)
        pair.classify("3")
        pair.must(lambda pair: pair.texts("agreed") == 1)
        Operator(channel).unload("new")
        pair.must(lambda pair: not pair.is_running)

    assert "2" not in pair.new.texts
    assert pair.classify("1").model.name == "old"


def test_real_models(serve: Callable[..., Server], bert: Path) -> None:
    """A real model agrees with itself. When the process of the shadow's model is killed, the shadow
    stops, and callers of that model are answered by the next process.
    """
    server = serve(
        model=(f"old={bert}", f"new={bert}"),
        shadow=("old=new:1",),
        metrics_port=0,
        batch_tokens=512,
    )
    name = "classwire_shadow_texts_total"
    with Client(server.target) as client:
        client.classify("I love this book")
        assert eventually(lambda: Scrape(server).value(name, comparison="agreed") == 1)
        [worker] = server.registry.served("new", "model").engine.workers
        os.kill(worker.pid, signal.SIGKILL)
        assert eventually(lambda: Scrape(server).value("classwire_shadow_running") == 0)
        client.classify("I love this book", model="new")
        client.classify("I love this book")
    now = Scrape(server)

    assert now.value("classwire_shadow_score_difference_sum") == pytest.approx(0.0, abs=1e-6)
    assert now.value("classwire_shadow_running") == 0
    assert now.value(name) == 1


def test_other_labels(shadowed: Shadowed, bert: Path, checkpoint: Any) -> None:
    """Models with different labels, or another activation, end the start with a clear error, which
    `serve --check` has too.
    """
    other = checkpoint("bert", labels=("a", "b", "c", "d", "e"))
    several = checkpoint("bert", problem_type="multi_label_classification")
    for folder, what in ((other, "labels"), (several, "activations")):
        models = (f"old={bert}", f"new={folder}")
        with pytest.raises(StartError, match=f"new cannot shadow old: .* different {what}") as said:
            shadowed(model=models)
        config = ServerConfig(port=0, model=models, shadow=("old=new:1",))
        failed = [each for each in findings(config, FakeEngine().launch) if each.exit_code]
        assert [(each.what, each.detail) for each in failed] == [("shadow of old", str(said.value))]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("old=new",), "is not MODEL=OTHER:SHARE"),
        (("old=new:0",), "is not a share"),
        (("old=new:1.5",), "is not a share"),
        (("old=new:nan",), "is not a share"),
        (("old=new:x",), "is not a share"),
        (("old=old:0.1",), "cannot shadow itself"),
        (("old=none:0.1",), "no model 'none'"),
        (("none=old:0.1",), "no model 'none'"),
        (("old=new:0.1", "old=new:0.2"), "has two shadows"),
    ],
)
def test_bad_settings(shadowed: Shadowed, given: tuple[str, ...], said: str) -> None:
    """The error names the setting and what is wrong."""
    with pytest.raises(ConfigError, match=said) as caught:
        shadowed(shadow=given)
    assert caught.value.setting == "shadow"


def test_a_share(shadowed: Shadowed) -> None:
    """About the given share of the texts is for the shadow, and the rest is not counted at all."""
    pair = shadowed(shadow=("old=new:0.5",))
    for _ in range(200):
        pair.classify("slow 1")  # the other model is stuck on one, MAX_WAITING wait for it
    pair.new.wait_for(lambda engine: engine.texts == ["slow 1"])
    chosen = 1 + MAX_WAITING + pair.texts("shed")
    pair.new.release()

    assert 65 < chosen < 135  # 7 is the standard deviation

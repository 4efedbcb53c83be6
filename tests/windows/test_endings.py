"""How texts of several windows end: with the last window, or with the first that fails."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from tokenizers import Tokenizer

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.engine import ANY_TIME, Execution, Logits, Terms
from classwire_server.open_inference import inference_pb2 as oip
from classwire_server.server import Server
from classwire_server.tokenization import Encoding, Text
from tests.contract.conversation import Conversation, item
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually
from tests.contract.failures import Failure, invalid, item_failure, refusal
from tests.open_inference.wire import Stub, request
from tests.windows.test_options import words

Connect = Callable[[str], grpc.Channel]
Fake = Callable[..., Server]

OPTIONS = pb.ClassifyOptions(
    truncation=pb.TRUNCATION_WINDOWS, windows=pb.WindowOptions(overlap_tokens=0)
)
SETTINGS: dict[str, Any] = {"max_tokens": 12, "batch_tokens": 12}
"""Windows of ten tokens of the text, each in a batch of its own."""


class SeeingEngine(FakeEngine):
    """A FakeEngine to which a window is the text of its own tokens."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def infer(self, encodings: Sequence[Encoding], terms: Terms = ANY_TIME) -> Logits:
        """The logits of the windows."""
        texts = [self._tokenizer.decode(list(encoding.ids)) for encoding in encodings]
        return super().infer(
            [replace(e, source=Text(text)) for e, text in zip(encodings, texts, strict=True)], terms
        )


class ChangingEngine(SeeingEngine):
    """Another engine takes over after the first batch."""

    def infer(self, encodings: Sequence[Encoding], terms: Terms = ANY_TIME) -> Logits:
        """The logits of the windows."""
        logits = super().infer(encodings, terms)
        self.traits = replace(self.traits, execution=Execution.COMPILED)
        return logits


@pytest.fixture
def engine(bert: Path) -> SeeingEngine:
    """The engine of the server."""
    return SeeingEngine(bert)


@pytest.fixture
def stub(engine: SeeingEngine, fake: Fake, connect: Connect) -> ClassifyServiceStub:
    """The RPCs of a server whose windows run one after the other."""
    return ClassifyServiceStub(connect(fake(engine, **SETTINGS).target))


def windowed(word: str, at: int, windows: int = 6) -> str:
    """A text of so many windows, of which one has the word."""
    size = {"slow": 4, "boom": 4, "nan": 3}[word]
    parts = [words(10)] * windows
    parts[at] = f"{word} {words(10 - size)}"
    return " ".join(parts)


@pytest.mark.parametrize("word", ["boom", "nan"])
def test_a_window_that_fails(stub: ClassifyServiceStub, engine: SeeingEngine, word: str) -> None:
    """A text ends with the error of its window, once; the other texts of the batch are answered."""
    inputs = [pb.TextInput(text=text) for text in ("good", windowed(word, 1), words(25))]
    batch = pb.BatchClassifyRequest(inputs=inputs, options=OPTIONS)

    good, bad, long = stub.BatchClassify(batch, timeout=PATIENCE_S).outcomes

    assert item_failure(bad).reason == "INTERNAL"
    assert good.classification.window_count == 1
    assert long.classification.window_count == 3
    alone = pb.ClassifyRequest(input=inputs[1], options=OPTIONS)
    assert refusal(lambda: stub.Classify(alone, timeout=PATIENCE_S)).reason == "INTERNAL"


def test_the_rest_of_a_failed_text_is_withdrawn(
    stub: ClassifyServiceStub, engine: SeeingEngine
) -> None:
    """The text ends with the first window that fails; those in the queue are not computed."""
    rest = " ".join(f"{words(9)} {word}" for word in ("hotel", "room", "clean"))
    text = f"boom {words(6)} slow {words(6)} {rest}"
    request = pb.ClassifyRequest(input=pb.TextInput(text=text), options=OPTIONS)

    assert refusal(lambda: stub.Classify(request, timeout=PATIENCE_S)).reason == "INTERNAL"

    engine.release()
    after = pb.ClassifyRequest(input=pb.TextInput(text="good"))
    assert stub.Classify(after, timeout=PATIENCE_S).result.scores
    assert not any("clean" in seen for seen in engine.texts)


def test_equal_windows_are_computed_once(stub: ClassifyServiceStub, engine: SeeingEngine) -> None:
    """Windows with the same tokens, of one text or of several, share a computation."""
    text = pb.TextInput(text=words(20) + " hotel " + words(9))
    request = pb.BatchClassifyRequest(inputs=[text, text], options=OPTIONS)

    answer = stub.BatchClassify(request, timeout=PATIENCE_S)

    assert [each.classification.window_count for each in answer.outcomes] == [3, 3]
    assert len(engine.texts) == 2
    assert answer.timing.cached


def test_items_of_a_stream_that_expire(engine: SeeingEngine, fake: Fake, connect: Connect) -> None:
    """A text whose windows are still queued at its timeout ends once; its id may be used again."""
    channel = connect(fake(engine, **SETTINGS).target)
    with Conversation(channel, options=OPTIONS, item_timeout=Duration(nanos=200_000_000)) as stream:
        stream.read_started()
        stream.send_items(item("a", windowed("slow", 0)), item("b", "good"))
        expired = stream.read_results(2)
        engine.release()
        stream.send_items(item("a", words(25)))
        [again] = stream.read_results(1)
        stream.half_close()
        assert stream.read_to_end() == []

    for result in expired:
        assert item_failure(result.outcome) == Failure(
            grpc.StatusCode.DEADLINE_EXCEEDED, "EXPIRED_IN_QUEUE"
        )
    assert {result.id for result in expired} == {"a", "b"}
    assert (again.id, again.outcome.classification.window_count) == ("a", 3)


def test_small_calls_overtake_long_texts(stub: ClassifyServiceStub, engine: SeeingEngine) -> None:
    """While a window of a long text runs, a small call is answered; the window could pause for it.
    Then the text is answered.
    """
    text = pb.TextInput(text=windowed("slow", 0))
    long = stub.Classify.future(pb.ClassifyRequest(input=text, options=OPTIONS), timeout=PATIENCE_S)
    engine.wait_for(lambda engine: bool(engine.texts))
    small = pb.ClassifyRequest(input=pb.TextInput(text="good"))

    assert stub.Classify(small, timeout=PATIENCE_S).result.scores

    engine.release()
    assert long.result().result.window_count == 6
    assert engine.yielding[0]
    assert engine.urgent[engine.texts.index("good")]


def test_cancelled_calls_withdraw_their_windows(
    engine: SeeingEngine, fake: Fake, connect: Connect
) -> None:
    """The windows of a caller who has gone leave the queue."""
    server = fake(engine, **SETTINGS)
    dispatcher = server.registry.served("", "model").dispatcher
    text = pb.TextInput(text=windowed("slow", 0))
    call = ClassifyServiceStub(connect(server.target)).Classify.future(
        pb.ClassifyRequest(input=text, options=OPTIONS), timeout=PATIENCE_S
    )
    engine.wait_for(lambda engine: bool(engine.texts))
    call.cancel()

    assert eventually(lambda: dispatcher.waiting_texts == 0)


def test_the_later_engine_is_named(bert: Path, fake: Fake, connect: Connect) -> None:
    """Where an engine takes over between two windows, ModelRef has the later one."""
    stub = ClassifyServiceStub(connect(fake(ChangingEngine(bert), **SETTINGS).target))
    text = pb.TextInput(text="hotel " + words(24))

    answer = stub.Classify(pb.ClassifyRequest(input=text, options=OPTIONS), timeout=PATIENCE_S)

    assert answer.result.window_count == 3
    assert answer.model.engine.execution == pb.EXECUTION_COMPILED


def test_statistics_count_texts(engine: SeeingEngine, fake: Fake, connect: Connect) -> None:
    """A text of several windows counts as one text, with the tokens of all windows, and its
    windows count; a text that fits has one. So has each document of Rank.
    """
    server = fake(engine, **SETTINGS)
    stub = ClassifyServiceStub(connect(server.target))
    texts = [pb.TextInput(text=text) for text in ("good", words(25), windowed("boom", 0))]
    stub.BatchClassify(pb.BatchClassifyRequest(inputs=texts, options=OPTIONS), timeout=PATIENCE_S)
    documents = pb.RankRequest(
        query="book", documents=["good", "hotel"], options=pb.RankOptions(label="1 star")
    )
    stub.Rank(documents, timeout=PATIENCE_S)
    figures = server.registry.served("", "model").dispatcher.statistics.read()

    assert (figures.texts, figures.tokens) == (2 + 2, 3 + 36 + 2 * 5)
    assert figures.windows == 1 + 3 + 2
    assert figures.success.count == 4
    assert figures.reasons == {"INTERNAL": 1}


def test_open_inference_follows_the_setting(
    engine: SeeingEngine, fake: Fake, connect: Connect
) -> None:
    """With --truncation windows the texts of other protocols are read in windows, and so are those
    of calls that choose no truncation; too many for a call are TOO_MANY_ITEMS.
    """
    server = fake(
        engine, truncation="windows", max_texts_per_call=4, max_windows_per_call=7,
        max_windows_per_text=4, **SETTINGS,
    )  # fmt: skip
    channel = connect(server.target)
    long = words(10) + " hotel " + words(9)
    response: oip.ModelInferResponse
    response = Stub(channel).ModelInfer(request(long, "good", model="tiny"), timeout=PATIENCE_S)
    classify = ClassifyServiceStub(channel).Classify
    text = pb.TextInput(text=long)
    by_default = classify(pb.ClassifyRequest(input=text), timeout=PATIENCE_S).result
    reject = pb.ClassifyOptions(truncation=pb.TRUNCATION_REJECT)
    rejected = pb.ClassifyRequest(input=text, options=reject)

    assert [list(output.shape) for output in response.outputs] == [[2, 5], [2], [2]]
    assert "truncated_tokens" not in response.parameters
    assert by_default.window_count == 3
    assert refusal(lambda: classify(rejected, timeout=PATIENCE_S)).reason == "TOO_MANY_TOKENS"
    too_many = request(long, long, long, model="tiny")
    assert refusal(lambda: Stub(channel).ModelInfer(too_many, timeout=PATIENCE_S)) == invalid(
        "TOO_MANY_ITEMS", "inputs", items="9", max_items="7"
    )


def test_rank_fails_with_the_call_or_alone(
    engine: SeeingEngine, fake: Fake, connect: Connect
) -> None:
    """A document with a NaN fails beside the others; one that expires ends the call."""
    server = fake(engine, default_timeout_s=1.0)
    stub = ClassifyServiceStub(connect(server.target))
    options = pb.RankOptions(label="2 stars")

    def rank(*documents: str) -> pb.RankResponse:
        message = pb.RankRequest(query="which", documents=documents, options=options)
        return stub.Rank(message, timeout=PATIENCE_S)

    answer = rank(*(f"book {number}" for number in range(99)), "nan")

    assert len(answer.results) == 99
    assert [result.index for result in answer.results] == list(range(99))
    [failure] = answer.failures
    assert failure.index == 99
    assert item_failure(pb.Outcome(error=failure.error)).reason == "INTERNAL"
    slow = stub.Classify.future(pb.ClassifyRequest(input=pb.TextInput(text="slow")), timeout=5)
    engine.wait_for(lambda engine: engine.texts[-1] == "slow")
    other = stub.Classify.future(pb.ClassifyRequest(input=pb.TextInput(text="slow 2")), timeout=5)
    assert refusal(lambda: rank("good", "bad")).reason == "EXPIRED_IN_QUEUE"
    engine.release()
    assert slow.result().result.scores
    assert other.exception() is not None


def test_zero_shot_fails_with_a_pair(
    engine: SeeingEngine, fake: Fake, connect: Connect, checkpoint: Callable[..., Path]
) -> None:
    """A candidate whose pair fails ends the call."""
    labels = ("entailment", "neutral", "contradiction", "a", "b")
    server = fake(engine, model=(f"tiny={checkpoint('bert', labels=labels)}",))
    stub = ClassifyServiceStub(connect(server.target))
    for word in ("boom", "nan"):
        request = pb.ZeroShotClassifyRequest(text="love", candidate_labels=["good", word])

        assert refusal(lambda: stub.ZeroShotClassify(request, timeout=PATIENCE_S)).reason == (  # noqa: B023
            "INTERNAL"
        )
    good = pb.ZeroShotClassifyRequest(text="love", candidate_labels=["good", "bad"])
    scores = stub.ZeroShotClassify(good, timeout=PATIENCE_S).result.scores
    assert [(score.index, score.score) for score in scores] == [(0, 0.5), (1, 0.5)]

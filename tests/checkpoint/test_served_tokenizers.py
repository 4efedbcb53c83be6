"""Servers of checkpoints whose tokenizers have no tokenizer.json, by all three kinds of call."""

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
import tokenizers
import transformers

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.server import Server
from tests.checkpoint.conftest import Make
from tests.checkpoint.tokenizers import PYTHON, SENTENCEPIECE, WORD_PIECES
from tests.contract.failures import Failure, invalid, item_failure, refusal
from tests.parity.direct import Direct, Pairable, largest_difference
from tests.parity.wire import WAYS, scores_by_id, text_input
from tests.windows.reference import windows

TEXTS: tuple[Pairable, ...] = (
    "the book was very good",
    "The Hotel was not clean :( 🙂",
    "hate it",
    ("love the hotel", "the book was cold"),
)
INPUT = pb.TextInput(text="the good book")

Serve = Callable[..., Server]
Connect = Callable[[str], grpc.Channel]


def check_parity(folder: Path, channel: grpc.Channel) -> None:
    """Compare the server's scores with those of direct use, by each kind of call."""
    direct = Direct.load(folder)
    expected = [direct.scores(text) for text in TEXTS]
    for way in WAYS:
        found = [scores_by_id(each) for each in way(channel, TEXTS, "")]
        assert largest_difference(expected, found) < 1e-5


def check_windows(direct: Direct, stub: ClassifyServiceStub) -> None:
    """Compare texts and pairs in windows, and a rank, with direct use."""
    long, short = "the book was very good " * 12, "love the hotel"
    options = pb.ClassifyOptions(
        include_logits=True,
        truncation=pb.TRUNCATION_WINDOWS,
        windows=pb.WindowOptions(window_tokens=30),
    )
    for texts in ((long,), (long, short), (short, long)):
        text: Pairable = texts[0] if len(texts) == 1 else (texts[0], texts[1])
        request = pb.ClassifyRequest(input=text_input(text), options=options)
        result = stub.Classify(request, timeout=60).result
        expected = windows(direct, texts, 30)
        assert result.window_count == len(expected.logits) > 1
        assert list(result.logits) == pytest.approx(expected.mean.tolist(), abs=1e-5)
    rank = pb.RankRequest(
        query=short, documents=["the book"], options=pb.RankOptions(label="4 stars")
    )
    [ranked] = stub.Rank(rank, timeout=60).results
    assert ranked.score == pytest.approx(direct.scores((short, "the book"))[3], abs=1e-5)
    options.include_windows = True
    request = pb.ClassifyRequest(input=INPUT, options=options)
    assert refusal(lambda: stub.Classify(request, timeout=60)) == invalid(
        "BAD_OPTION", "options.include_windows"
    )


def test_a_sentencepiece_model_alone(
    make: Make, pieces: bytes, serve: Serve, connect: Connect
) -> None:
    """A folder whose only tokenizer file is a sentencepiece model gets the scores of direct use."""
    folder = make("AlbertTokenizer", {SENTENCEPIECE["AlbertTokenizer"]: pieces})
    check_parity(folder, connect(serve(model=(f"m={folder}",)).target))


def test_a_tokenizer_in_python(make: Make, serve: Serve, connect: Connect) -> None:
    """A tokenizer in Python gets the scores of direct use, also in windows; a call for spans of
    tokens gets BAD_OPTION.
    """
    kind = PYTHON["BertweetTokenizer"]
    folder = make("BertweetTokenizer", kind.files, **kind.config)
    channel = connect(serve(model=(f"m={folder}",)).target)
    check_parity(folder, channel)

    stub = ClassifyServiceStub(channel)
    check_windows(Direct.load(folder), stub)
    options = pb.ClassifyOptions(include_tokens=True)
    assert refusal(lambda: stub.Tokenize(pb.TokenizeRequest(input=INPUT), timeout=60)) == invalid(
        "BAD_OPTION", "model"
    )
    request = pb.ClassifyRequest(input=INPUT, options=options)
    assert refusal(lambda: stub.Classify(request, timeout=60)) == invalid(
        "BAD_OPTION", "options.include_tokens"
    )
    config = pb.StreamClassifyRequest(config=pb.StreamConfig(options=options))
    stream = stub.StreamClassify(iter([config]), timeout=60)
    assert refusal(lambda: next(stream)) == invalid("BAD_OPTION", "config.options.include_tokens")


def test_more_tokens_than_the_model_knows(make: Make, serve: Serve, connect: Connect) -> None:
    """A tokenizer with more tokens than the model fails only the texts that have one of them."""
    folder = make("BertTokenizer", {"vocab.txt": WORD_PIECES})
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    added = [f"<new-{number}>" for number in range(500)]
    tokenizer.add_tokens(added)
    tokenizer.save_pretrained(folder)
    channel = connect(serve(model=(f"m={folder}",)).target)
    check_parity(folder, channel)

    inputs = [pb.TextInput(text=text) for text in ("good", f"good {added[-1]}", "bad")]
    request = pb.BatchClassifyRequest(inputs=inputs)
    good, bad, behind = ClassifyServiceStub(channel).BatchClassify(request, timeout=60).outcomes

    assert good.HasField("classification")
    assert behind.HasField("classification")
    failure = item_failure(bad)
    assert failure == Failure(grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "more tokens than its model" in failure.message
    assert added[-1] not in failure.message


def test_a_text_without_a_token(make: Make, serve: Serve, connect: Connect) -> None:
    """A text of which the tokenizer leaves no token ends with EMPTY_TEXT, alone in its batch."""
    letters = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0, "b": 1}, []))
    folder = make("PreTrainedTokenizerFast", {"tokenizer.json": letters.to_str()})
    stub = ClassifyServiceStub(connect(serve(model=(f"m={folder}",)).target))

    inputs = [pb.TextInput(text=text) for text in ("a", "好", "ab")]
    request = pb.BatchClassifyRequest(inputs=inputs)
    good, empty, behind = stub.BatchClassify(request, timeout=60).outcomes

    assert good.HasField("classification")
    assert behind.HasField("classification")
    assert item_failure(empty) == invalid("EMPTY_TEXT", "inputs[1].text")
    assert "no token" in item_failure(empty).message
    alone = pb.TokenizeRequest(input=inputs[1])
    assert refusal(lambda: stub.Tokenize(alone, timeout=60)) == invalid("EMPTY_TEXT", "input.text")

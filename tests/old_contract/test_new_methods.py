"""Methods, pipelines and commands of this checkout say what a server of contract 1.0 lacks."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import classwire
from classwire import AsyncClient, Client, InvalidInputError, Reason, UnimplementedError

PATIENCE_S = 60
LABELS = ["delivery", "praise"]
OLDER = "is older than this client: "
NO_RANK = OLDER + "it has no Rank$"
NO_ZERO_SHOT = OLDER + "it has no ZeroShotClassify$"
NO_WINDOWS = OLDER + "it does not know truncation 'windows'"
NO_WINDOW_OPTIONS = OLDER + "it does not know windows"

CALLS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "rank": (lambda client: client.rank("red", ["a", "b"]), NO_RANK),
    "zero_shot": (lambda client: client.zero_shot("red", LABELS), NO_ZERO_SHOT),
    "classify": (lambda client: client.classify("red", truncation="windows"), NO_WINDOWS),
    "batch": (lambda client: client.classify_batch(["red"], truncation="windows"), NO_WINDOWS),
    "stream": (lambda client: client.classify_stream(["red"], truncation="windows"), NO_WINDOWS),
    "tokenize": (lambda client: client.tokenize("red", truncation="windows"), NO_WINDOWS),
    "classify, options": (
        lambda client: client.classify("red", include_windows=True),
        NO_WINDOW_OPTIONS,
    ),
    "batch, options": (
        lambda client: client.classify_batch(["red"], window_tokens=64),
        NO_WINDOW_OPTIONS,
    ),
    "stream, options": (
        lambda client: client.classify_stream(["red"], overlap_tokens=8),
        NO_WINDOW_OPTIONS,
    ),
    "tokenize, options": (
        lambda client: client.tokenize("red", window_tokens=64),
        NO_WINDOW_OPTIONS,
    ),
}

FILE = "FILE"
"""Stands for the path of a file of texts."""
COMMANDS: dict[str, tuple[list[str], str, int]] = {
    "rank": (["rank", "red", "a", "b"], NO_RANK, 1),
    "rank --file": (["rank", "red", "--file", FILE], NO_RANK, 1),
    "zero-shot": (["zero-shot", "red", "--label", "a"], NO_ZERO_SHOT, 1),
    "zero-shot --file": (["zero-shot", "--file", FILE, "--label", "a"], NO_ZERO_SHOT, 1),
    "classify": (["classify", "--truncation", "windows", "red"], NO_WINDOWS, 2),
    "classify --windows": (
        ["classify", "--truncation", "windows", "--windows", "red"],
        NO_WINDOWS,
        2,
    ),
    "classify --windows alone": (["classify", "--windows", "red"], NO_WINDOW_OPTIONS, 2),
    "classify --windows alone --file": (
        ["classify", "--windows", "--file", FILE],
        NO_WINDOW_OPTIONS,
        2,
    ),
    "classify --file": (["classify", "--truncation", "windows", "--file", FILE], NO_WINDOWS, 2),
}


@pytest.fixture(scope="module")
def client(old_target: str) -> Iterator[Client]:
    """Yield a client of this checkout."""
    with Client(old_target) as client:
        yield client


def has_its_class(error: classwire.ClasswireError, sentence: str) -> bool:
    """Whether the error has the class and the reason for that sentence."""
    if sentence in (NO_WINDOWS, NO_WINDOW_OPTIONS):
        reason = Reason.UNKNOWN_ENUM if sentence == NO_WINDOWS else Reason.BAD_OPTION
        return type(error) is InvalidInputError and error.reason is reason
    return type(error) is UnimplementedError and error.reason is None


@pytest.mark.parametrize("call", CALLS)
def test_a_method_says_that_the_server_is_older(client: Client, call: str) -> None:
    """The error has its class, and one sentence with the cause and what the server lacks."""
    send, sentence = CALLS[call]

    with pytest.raises(classwire.ClasswireError, match=sentence) as raised:
        list(send(client))

    assert has_its_class(raised.value, sentence)


@pytest.mark.parametrize("call", CALLS)
def test_an_asynchronous_method_says_so_too(old_target: str, call: str) -> None:
    """`AsyncClient` raises the errors of `Client`."""
    send, sentence = CALLS[call]

    async def run() -> None:
        async with AsyncClient(old_target) as client:
            answer: Awaitable[Any] | AsyncIterator[Any] = send(client)
            if isinstance(answer, AsyncIterator):
                async for _ in answer:
                    pass
            else:
                await answer

    with pytest.raises(classwire.ClasswireError, match=sentence) as raised:
        asyncio.run(run())

    assert has_its_class(raised.value, sentence)


def test_the_zero_shot_pipeline_says_so(old_target: str) -> None:
    """For one text and for several."""
    with classwire.pipeline(old_target, task="zero-shot-classification") as classifier:
        for texts in ("red", ["red", "green"]):
            with pytest.raises(UnimplementedError, match=NO_ZERO_SHOT):
                classifier(texts, candidate_labels=LABELS)


def test_the_pipeline_says_so(old_target: str) -> None:
    """`truncation="windows"` of a text-classification pipeline is the server's to know."""
    with (
        classwire.pipeline(old_target) as classifier,
        pytest.raises(InvalidInputError, match=NO_WINDOWS),
    ):
        classifier("red", truncation="windows")


def test_the_cross_encoder_works(old_target: str, client: Client) -> None:
    """It sends pairs, which the old contract has."""
    expected = client.classify("red", "green", activation="identity")
    by_id = sorted(expected.scores, key=lambda score: score.label_id)

    with classwire.CrossEncoder(old_target) as encoder:
        scores = encoder.predict([("red", "green")], convert_to_numpy=False)

    assert scores == [[score.score for score in by_id]]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_says_so(old_target: str, command: str, tmp_path: Path) -> None:
    """It prints the sentence as its last line and no answer, and exits with the error's code."""
    arguments, sentence, code = COMMANDS[command]
    file = tmp_path / "texts.txt"
    file.write_text("a\nb\n", encoding="utf-8")
    given = [str(file) if each == FILE else each for each in arguments]
    ran = subprocess.run(
        [os.environ["CLASSWIRE_NEW_COMMAND"], *given, "--target", old_target],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )

    assert ran.returncode == code
    assert not ran.stdout
    last = ran.stderr.splitlines()[-1]
    assert last.endswith(sentence.removesuffix("$")), ran.stderr

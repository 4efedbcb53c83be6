"""`classwire tokenize`, `models` and `health`."""

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from classwire import Client
from classwire._connection.session import Session
from classwire.testing import FakeServer
from tests.cli.conftest import Run


def test_tokenize_shows_what_the_model_would_see(
    classwire: Run, target: str, embedded_folder: Path
) -> None:
    """`tokenize` prints a line a token: id, span, type and mask; special tokens have no span."""
    tokenizer = AutoTokenizer.from_pretrained(embedded_folder)
    expected = tokenizer("I love it", return_offsets_mapping=True)
    ended = classwire("tokenize", "--target", target, "I love it")
    header, *lines = [line.split() for line in ended.out.splitlines()]
    assert ended.code == 0
    assert header == ["token", "id", "span", "type", "mask"]
    assert [line[1] for line in lines] == tokenizer.convert_ids_to_tokens(expected["input_ids"])
    assert [int(line[2]) for line in lines] == expected["input_ids"]
    spans = [f"{start}-{end}" for start, end in expected["offset_mapping"]]
    assert [line[3] for line in lines] == ["special", *spans[1:-1], "special"]
    assert {tuple(line[4:]) for line in lines} == {("0", "1")}


def test_tokenize_as_json_counts_in_the_unit_asked_for(classwire: Run, target: str) -> None:
    """`tokenize --json` counts spans in the given unit: an emoji is one code point, four bytes,
    two code units.

    Pairs have a second sequence.
    """
    for unit, start in (("unicode", 2), ("utf8", 5), ("utf16", 3)):
        options = ["--target", target, "--json", "--offset-unit", unit, "--pair", "bad"]
        record = json.loads(classwire("tokenize", *options, "😀 good").out)
        good = next(token for token in record["tokens"] if token["text"] == "good")
        assert good["start"] == start
        assert {token["sequence_index"] for token in record["tokens"]} == {0, 1}
        assert set(record["attention_mask"]) == {1}


def test_tokenize_says_what_was_left_out(classwire: Run, target: str) -> None:
    """`tokenize` reports truncation."""
    long = "good " * 1000
    ended = classwire("tokenize", "--target", target, "--truncation", "drop_end", long)
    assert "tokens cut off)" in ended.out.splitlines()[-1]
    rejected = classwire("tokenize", "--target", target, long)
    assert rejected.code == 2
    assert "tokens" in rejected.complaint


def test_models_shows_every_fact(classwire: Run, target: str) -> None:
    """`models` prints name, default, state, architecture, labels, tasks, token limit,
    device, precision, engine and fingerprint.
    """
    with Client(target) as client:
        (model,) = client.models()
    ended = classwire("models", "--target", target)
    shown = {line[:14].strip(): line[14:].strip() for line in ended.out.splitlines()}
    assert ended.code == 0
    assert shown == {
        "model": "stars-en",
        "default": "yes",
        "state": "ready",
        "architecture": "BertForSequenceClassification",
        "labels": "1 star, 2 stars, 3 stars, 4 stars, 5 stars",
        "tasks": "classify",
        "max tokens": str(model.max_tokens),
        "device": model.device,
        "precision": model.precision,
        "engine": f"{model.execution}, {model.layout}",
        "fingerprint": (model.fingerprint or "")[:12],
    }


def test_models_as_json_is_all_there_is_to_know(classwire: Run, target: str) -> None:
    """`models --json` adds limits and the whole fingerprint; --model selects one."""
    (line,) = classwire("models", "--target", target, "--json").out.splitlines()
    record = json.loads(line)
    assert len(record["fingerprint"]) == 64
    assert record["limits"]["stream_window_items"] > 0
    ended = classwire("models", "--target", target, "--json", "--model", "stars-en")
    assert json.loads(ended.out) == record
    assert classwire("models", "--target", target, "--model", "nope").code == 2


def test_health_exits_0_only_when_serving(classwire: Run, target: str) -> None:
    """`health` prints the status, and exits with 0 only for SERVING."""
    for name in ([], ["classwire.v1.ClassifyService"], ["--model", "stars-en"]):
        ended = classwire("health", "--target", target, *name)
        assert (ended.code, ended.out) == (0, "SERVING\n")
    ended = classwire("health", "--target", target, "no.such.Service")
    assert (ended.code, ended.out, ended.err) == (1, "SERVICE_UNKNOWN\n", "")
    for name in (["--model", "nope"], ["classwire.model.nope"]):
        ended = classwire("health", "--target", target, *name)
        assert (ended.code, ended.out) == (1, "SERVICE_UNKNOWN\n")
        assert ended.complaint == "no model named 'nope'; `classwire models` lists them"
    with FakeServer(["x"]) as server:
        server.set_serving(False)
        ended = classwire("health", "--target", server.target)
        assert (ended.code, ended.out) == (1, "NOT_SERVING\n")


def test_health_waits_until_its_timeout(classwire: Run, target: str) -> None:
    """`health --wait` returns at once when the server is ready, and ends in one line at its
    timeout.
    """
    assert classwire("health", "--target", target, "--wait-s", "30").code == 0
    with FakeServer(["x"]) as server:
        server.set_serving(False)
        ended = classwire("health", "--target", server.target, "--wait-s", "0.2")
        assert (ended.code, ended.out) == (1, "")
        assert "not ready within 0.2 s" in ended.complaint


@pytest.mark.parametrize("command", [["tokenize", "x"], ["models"], ["health"], ["classify", "x"]])
def test_a_server_that_is_not_there_is_named(
    classwire: Run, unanswered_target: str, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """Without a server each command exits with 1 at once, with the address and a hint."""
    monkeypatch.delattr(Session, "pause")
    ended = classwire(*command, "--target", unanswered_target)
    assert (ended.code, ended.out) == (1, "")
    assert ended.complaint == (
        f"no server answers at {unanswered_target}; start one with `classwire serve`"
    )

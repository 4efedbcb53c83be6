"""`classwire classify`: texts from the command line and from standard input."""

import os
from pathlib import Path

import pytest

from classwire import Client, Reason
from classwire.testing import FakeServer
from classwire.v1 import classwire_pb2 as pb
from tests.cli.conftest import Run, Spawn

REFERENCE_TEXT = "I really love this book"


def good_or_bad(text: str, pair: str | None) -> dict[str, float]:
    """Classify "good" as good and all else as bad, on a fake server."""
    score = 0.75 if "good" in text else 0.25
    return {"good": score, "bad": 1 - score}


def test_one_text_is_a_bar_for_each_label_highest_first(classwire: Run, target: str) -> None:
    """One text prints a bar for each label, highest score first, with the client's numbers."""
    with Client(target) as client:
        expected = client.classify(REFERENCE_TEXT)
    ended = classwire("classify", "--target", target, REFERENCE_TEXT)
    lines = ended.out.splitlines()
    assert (ended.code, ended.err) == (0, "")
    assert [line[:7].strip() for line in lines] == [each.label for each in expected.scores]
    assert [line.split()[-1] for line in lines] == [f"{each.score:.4f}" for each in expected.scores]
    assert lines[0].count("█") > lines[1].count("█")
    assert "\x1b" not in ended.out


def test_bars_take_the_width_of_the_terminal(classwire: Run, target: str) -> None:
    """No line is longer than the terminal's width."""
    ended = classwire("classify", "--target", target, REFERENCE_TEXT, columns=32)
    assert {len(line) for line in ended.out.splitlines()} == {32}


def test_several_texts_stand_under_headings_and_a_bad_one_fails_alone(
    classwire: Run, target: str
) -> None:
    """Several texts have headings; a blank one is named on standard error, and the exit code is
    1.
    """
    ended = classwire("classify", "--target", target, "--top-k", "1", "fine", "  ", "bad")
    assert ended.code == 1
    assert [line for line in ended.out.splitlines() if not line.startswith("  ")] == ["fine", "bad"]
    assert len(ended.out.splitlines()) == 4
    assert ended.complaint == "text 2: the text is empty or blank"


def test_json_is_one_object_for_each_text(classwire: Run, target: str) -> None:
    """`--json` prints one object a text: scores, counts, model and time, or the error."""
    ended = classwire("classify", "--target", target, "--json", REFERENCE_TEXT, " ")
    good, bad = ended.records
    assert (ended.code, ended.err) == (1, "")
    assert good["text"] == REFERENCE_TEXT
    assert good["label"] == good["scores"][0]["label"]
    assert good["score"] == good["scores"][0]["score"] == max(s["score"] for s in good["scores"])
    assert sum(each["score"] for each in good["scores"]) == pytest.approx(1, abs=1e-6)
    assert (good["token_count"], good["truncated_tokens"]) == (7, 0)
    assert len(good["model"]["fingerprint"]) == 64
    assert good["timing"]["total_us"] > 0
    assert bad["error"] == {
        "code": "INVALID_ARGUMENT",
        "reason": "EMPTY_TEXT",
        "message": "the text is empty or blank",
        "field": "text",
    }


def test_options_reach_the_server(classwire: Run) -> None:
    """Each option of the command reaches the request."""
    with FakeServer(good_or_bad) as server:
        options = ["--target", server.target, "--model", "fake", "--top-k", "2"]
        options += ["--min-score", "0.5", "--activation", "sigmoid", "--truncation", "drop_end"]
        assert classwire("classify", *options, "--priority", "bulk", "good").code == 0
        assert classwire("classify", *options, "--pair", "second", "good", "b").code == 0
        unary, config, *items = server.requests
    assert isinstance(unary, pb.ClassifyRequest)
    assert isinstance(config, pb.StreamClassifyRequest)
    sent = unary.options
    assert (unary.model, sent.top_k, sent.min_score) == ("fake", 2, 0.5)
    assert (sent.activation, sent.truncation, sent.priority) == (2, 2, 2)
    assert (config.config.options.activation, config.config.options.priority) == (2, 1)
    pairs = [
        each.input.text_pair
        for message in items
        if isinstance(message, pb.StreamClassifyRequest)
        for each in message.items.items
    ]
    assert pairs == ["second", "second"]


def test_a_reader_that_leaves_ends_the_command_quietly(spawn: Spawn, tmp_path: Path) -> None:
    """When the reader closes its pipe, as `head -1` does, the command exits without a traceback,
    and not with 0.
    """
    source = tmp_path / "many.txt"
    source.write_text("good\n" * 5000)
    with (
        FakeServer(good_or_bad) as server,
        spawn("classify", "--target", server.target, "--file", str(source)) as process,
    ):
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 1
        (line,) = process.stderr.read().splitlines()
        assert line.startswith(b"stopped after ")


def test_a_blank_text_is_wrong_use(classwire: Run, target: str) -> None:
    """A single blank text is a usage error: exit code 2, in JSON with the reason."""
    ended = classwire("classify", "--target", target, "")
    assert (ended.code, ended.out, ended.complaint) == (2, "", "the text is empty or blank")
    ended = classwire("classify", "--target", target, "", "--json")
    assert (ended.code, ended.complaint) == (2, "the text is empty or blank")
    assert ended.records[0]["error"]["reason"] == "EMPTY_TEXT"


def test_a_text_that_is_a_file_gets_a_hint(classwire: Run, target: str, tmp_path: Path) -> None:
    """A text that names an existing file is scored, and a hint names the option for its rows."""
    path = tmp_path / "reviews.csv"
    path.write_text("text\ngood\n")
    for command in (["classify"], ["rank", "good", "--label", "5 stars"]):
        ended = classwire(*command, "--target", target, str(path))
        assert ended.code == 0
        assert ended.complaint == f"{path} is a file; read its rows with --file {path}"


def test_bytes_that_are_not_utf8_are_named(classwire: Run, target: str) -> None:
    """An argument that is not UTF-8 is an error, in JSON with its bytes escaped."""
    text = os.fsdecode(b"caf\xe9")
    ended = classwire("classify", "--target", target, "--json", text, "fine")
    bad, good = ended.records
    assert ended.code == 1
    assert bad["text"] == text
    assert bad["error"]["reason"] == "BAD_ENCODING"
    assert "label" in good


def test_a_model_that_is_not_there_is_named(classwire: Run, target: str) -> None:
    """An unknown model is one line and exit code 2."""
    ended = classwire("classify", "--target", target, "--model", "nope", "text")
    assert ended.code == 2
    assert ended.complaint == "no model named 'nope'; `classwire models` lists them"


@pytest.mark.parametrize("texts", [["a"], ["a", "b"], ["--stages", "a", "b"]])
def test_a_bad_option_ends_the_command_once(classwire: Run, target: str, texts: list[str]) -> None:
    """A bad option is one error for the command, not one for each text."""
    ended = classwire("classify", "--target", target, "--min-score", "7", *texts)
    assert ended.code == 2
    assert ended.complaint.startswith("min_score ")


def test_a_server_that_does_not_answer_in_time_is_named(classwire: Run) -> None:
    """A server that does not answer in time is one line with the timeout, and exit code 1."""
    with FakeServer(good_or_bad) as server:
        server.hold()
        ended = classwire("classify", "--target", server.target, "--timeout-s", "0.2", "a")
        assert (ended.code, ended.out) == (1, "")
        assert ended.complaint == f"no answer from {server.target} within 0.2 s (--timeout-s)"


def test_a_terminal_without_unicode_gets_plain_signs(spawn: Spawn) -> None:
    """A terminal without Unicode gets bars of # and escapes instead of an error."""
    with FakeServer(good_or_bad) as server:
        command = ["classify", "--target", server.target, "good café", "bad"]
        with spawn(*command, PYTHONIOENCODING="ascii") as process:
            out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, b"")
    assert b"good caf\\xe9" in out
    assert b"###" in out


def test_a_server_that_fails_is_a_failure(classwire: Run) -> None:
    """A failing server's message is one line with exit code 1, after the given time; a draining
    server is not reported as missing.
    """
    with FakeServer(good_or_bad) as server:
        server.fail_next(Reason.DRAINING, times=100)
        ended = classwire("classify", "--target", server.target, "--timeout-s", "0.3", "a", "b")
        assert (ended.code, ended.out) == (1, "")
        assert "DRAINING" in ended.complaint

"""`classwire classify --windows`: which label is high where in a long text."""

import re
from pathlib import Path

import pytest

from classwire.testing import FakeServer
from classwire.v1 import classwire_pb2 as pb
from tests.cli.conftest import Run
from tests.client.conftest import without_windows  # noqa: F401

TEXT = "good good good good bad bad bad bad fine fine"
ROOT = Path(__file__).parents[2]
NUMBER = re.compile(r"\b\d\.\d+")
WINDOWS = ["--truncation", "windows", "--windows", "--window-tokens", "4"]


def by_word(text: str, pair: str | None) -> dict[str, float]:
    """Return the share of each word in the text."""
    words = text.split()
    return {name: words.count(name) / len(words) for name in ("bad", "fine", "good")}


def server_of_words() -> FakeServer:
    """Return a fake server with these labels."""
    server = FakeServer(by_word)
    server.model.labels.extend(["bad", "fine", "good"])
    return server


def test_each_window_is_a_line_and_the_whole_stands_below(classwire: Run) -> None:
    """Each window has a line: its place, each label's number and bar, and how it begins. The scores
    of the whole text stand below.
    """
    with server_of_words() as server:
        ended = classwire("classify", "--target", server.target, *WINDOWS, TEXT)
    lines = ended.out.splitlines()
    assert (ended.code, ended.err) == (0, "")
    assert lines[0].split() == ["bad", "fine", "good"]
    assert [line.split()[0] for line in lines[1:4]] == ["0-19", "15-31", "28-45"]
    assert lines[1].split()[1:5] == ["0.00", "0.00", "1.00", "███████"]
    assert lines[1].endswith("good good good good")
    assert lines[2].split()[1:3] == ["0.75", "█████▎"]
    assert lines[4:6] == ["", "whole text: 3 windows, mean_logits"]
    assert [line.split()[0] for line in lines[6:]] == ["bad", "good", "fine"]
    assert max(map(len, lines)) <= 80


def test_labels_that_do_not_fit_are_counted(classwire: Run) -> None:
    """A narrow terminal shows the labels that are highest in any window, in their own order."""
    with server_of_words() as server:
        ended = classwire("classify", "--target", server.target, *WINDOWS, TEXT, columns=36)
    lines = ended.out.splitlines()
    assert lines[0].split() == ["bad", "good"]
    assert lines[4] == "(1 more labels are lower)"


def test_the_options_reach_the_server(classwire: Run) -> None:
    """Each option of windows reaches the request."""
    options = [*WINDOWS, "--overlap-tokens", "0", "--aggregation", "max_score"]
    with server_of_words() as server:
        assert classwire("classify", "--target", server.target, *options, TEXT).code == 0
        (request,) = server.requests
        assert isinstance(request, pb.ClassifyRequest)
        assert request.options.truncation == pb.TRUNCATION_WINDOWS
        assert request.options.include_windows
        assert request.options.windows == pb.WindowOptions(
            window_tokens=4, overlap_tokens=0, aggregation=pb.WINDOW_AGGREGATION_MAX_SCORE
        )


def test_json_and_files_have_the_windows(classwire: Run, tmp_path: Path) -> None:
    """`--json` and `--file` contain each window's place and scores, in the order of the labels."""
    source = tmp_path / "in.txt"
    source.write_text(f"{TEXT}\ngood")
    with server_of_words() as server:
        options = ["--target", server.target, *WINDOWS]
        (alone,) = classwire("classify", *options, "--json", TEXT).records
        rows = classwire("classify", *options, "--file", str(source)).records
    assert (alone["window_count"], alone["aggregation"]) == (3, "mean_logits")
    assert alone["windows"] == rows[0]["windows"]
    assert alone["windows"][1] == {
        "start": 15,
        "end": 31,
        "sequence_index": 0,
        "token_count": 4,
        "scores": [0.75, 0.0, 0.25],
    }
    assert len(rows[1]["windows"]) == 1


@pytest.mark.parametrize("texts", [[TEXT], [TEXT, "good"]])
def test_without_windows_their_number_is_named(classwire: Run, texts: list[str]) -> None:
    """Without --windows a long text has its scores and the number of its windows; a text that fits
    has scores alone.
    """
    with server_of_words() as server:
        options = ["--truncation", "windows", "--window-tokens", "4"]
        ended = classwire("classify", "--target", server.target, *options, *texts)
    assert ended.out.count("(3 windows, mean_logits)") == 1
    assert ended.out.count("windows") == 1


def test_wrong_use_is_named(classwire: Run) -> None:
    """--windows goes with its truncation, and not with --stages."""
    with server_of_words() as server:
        ended = classwire("classify", "--target", server.target, "--windows", TEXT)
        assert (ended.code, ended.out) == (2, "")
        assert "windows: " in ended.complaint
        ended = classwire("classify", "--target", server.target, *WINDOWS, "--stages", TEXT)
        assert (ended.code, ended.out) == (2, "")
        assert "--stages does not go with --windows" in ended.complaint


@pytest.mark.parametrize(
    "options", [["--windows"], ["--window-tokens", "4"], ["--overlap-tokens", "0"]], ids=str
)
@pytest.mark.parametrize("from_file", [False, True])
@pytest.mark.usefixtures("without_windows")
def test_a_server_that_is_too_old_is_named(
    classwire: Run, tmp_path: Path, options: list[str], from_file: bool
) -> None:
    """A server without windows ignores the options, so the command shows and writes no result."""
    source, output = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text(TEXT)
    texts = ["--file", str(source), "--output", str(output)] if from_file else [TEXT]
    with server_of_words() as server:
        ended = classwire("classify", "--target", server.target, *options, *texts)
    assert (ended.code, ended.out, output.exists()) == (2, "", False)
    assert "the server is older than this client: it does not know windows" in ended.complaint


def test_negative_numbers_have_hollow_bars(classwire: Run) -> None:
    """Scores of a regression fill the bar at the largest; a negative score's bar is hollow."""

    def answer(text: str, pair: str | None) -> dict[str, float]:
        return {"mood": 4.0 if "good" in text else -2.0}

    with FakeServer(answer) as server:
        options = ["--target", server.target, *WINDOWS, "--activation", "identity"]
        lines = classwire("classify", *options, TEXT).out.splitlines()
    assert lines[1].split()[1:3] == ["+4.00", "██████"]
    assert lines[3].split()[1:3] == ["-2.00", "░░░"]


def test_tokens_of_windows_are_numbered_by_window(classwire: Run) -> None:
    """`tokenize` shows the tokens of all windows, with the number of the window before theirs."""
    with server_of_words() as server:
        options = ["--target", server.target, "--truncation", "windows"]
        lines = classwire("tokenize", *options, "--window-tokens", "6", TEXT).out.splitlines()
        assert [line.split()[0] for line in lines[1:]] == [
            f"{window}.{position}" for window in (1, 2) for position in range(6)
        ]
        lines = classwire("tokenize", *options, "good bad").out.splitlines()
        assert [line.split()[0] for line in lines[1:]] == ["0", "1"]


def test_the_guide_shows_the_output(classwire: Run, target: str) -> None:
    """The picture in the guide on long texts is what the embedded model answers."""
    guide = (ROOT / "docs/guides/long-texts.md").read_text()
    (shown,) = re.findall(r"examples/stay.txt\)\"\n```\n\n```\n(.*?)```", guide, re.DOTALL)
    text = (ROOT / "examples/stay.txt").read_text().rstrip()
    options = ["--target", target, "--truncation", "windows", "--windows"]
    ended = classwire("classify", *options, "--window-tokens", "128", text, columns=100)
    number = re.compile(r" [▏▎▍▌▋▊▉█]+ +|[0-9.]+")  # the last digit, and so a bar, may differ
    assert number.sub(" ", ended.out) == number.sub(" ", shown)
    for found, expected in zip(NUMBER.findall(ended.out), NUMBER.findall(shown), strict=True):
        assert float(found) == pytest.approx(float(expected), abs=0.011)

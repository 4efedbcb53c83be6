"""`classwire demo`: its chapters, on a terminal and in a pipe."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from classwire_server.cli.demo.screen import Screen
from classwire_server.cli.demo.stream import STARS
from scripts.terminal import in_terminal, shown
from scripts.terminal_picture import plain
from tests.cli.conftest import Run, Spawn
from tests.cli.test_stages import REFERENCE_TEXT, direct_stages

DEMO = [sys.executable, "-m", "classwire", "demo"]
ESCAPE = "\x1b"
COUNTED = "500 ids sent: 500 answered once, 0 twice, 0 lost"


@pytest.fixture(scope="module")
def own_run() -> str:
    """Return what a demo with a server of its own writes into a pipe."""
    ended = subprocess.run(DEMO, capture_output=True, text=True, timeout=110, check=True)
    assert ended.stderr == ""
    return ended.stdout


def chapters(written: str) -> list[str]:
    """Return what comes before the first heading, and each chapter."""
    return re.split(r"\n\n(?=One text|\d texts|A long|500 reviews|Server stopped|Next)", written)


def test_one_text_is_shown_in_its_stages(own_run: str, embedded_folder: Path) -> None:
    """The first chapter has the tokens and ids, logits and probabilities of transformers."""
    inputs, logits, probabilities = direct_stages(embedded_folder, REFERENCE_TEXT)
    _, text, tokens, ids, _, head, *rows = chapters(own_run)[1].splitlines()[:11]
    assert text.strip() == f'"{REFERENCE_TEXT}"'
    assert tokens.split() == ["token", *inputs["tokens"]]
    assert ids.split() == ["id", *map(str, inputs["input_ids"])]
    assert head.split() == ["label", "logit", "softmax"]
    for row, label, logit, probability in zip(rows, STARS, logits, probabilities, strict=True):
        name, *numbers = re.split(r" {2,}", row.strip())
        assert name == label
        assert list(map(float, numbers[:2])) == pytest.approx(
            [logit.item(), probability.item()], abs=1e-4
        )


def test_a_bad_text_fails_alone(own_run: str) -> None:
    """In the batch the blank text has its reason, and the others their labels."""
    rows = chapters(own_run)[2].splitlines()[2:]
    assert [row.split("  ")[1] for row in rows[:2]] == ["5 stars", "1 star"]
    assert rows[2].split() == ["EMPTY_TEXT", '"', '"']


def test_a_long_text_is_read_in_windows(own_run: str) -> None:
    """The long text has a line for each window, and its complaint in the middle is seen there."""
    title, _, head, *windows, whole = chapters(own_run)[3].splitlines()
    assert title == f"A long text in {len(windows)} windows"
    assert head.split("  ")[-1].strip() == "5 stars"
    praise = [float(re.split(r" {2,}", line.strip())[5].split()[0]) for line in windows]
    assert min(praise[1:-1]) < 0.2 < min(praise[0], praise[-1])
    assert whole.strip().startswith("the whole text: ")


def test_a_killed_process_loses_nothing(own_run: str) -> None:
    """A model's process is killed in the middle of 500 reviews. Each id is answered once, no answer
    comes from the cache, and another process takes over.
    """
    chapter = chapters(own_run)[4]
    assert f"  {COUNTED}\n" in chapter
    assert "0 errors, 0 answers from the cache" in chapter
    [killed] = re.findall(r"  process (\d+) killed after 250 answers\n", chapter)
    [successor] = re.findall(r"  process (\d+) took over; ", chapter)
    assert killed != successor
    counts = [int(line.split()[-1]) for line in re.findall(r"^  \d stars?  .*", chapter, re.M)]
    assert (len(counts), sum(counts)) == (5, 500)


def test_a_log_has_no_escape_sequences(own_run: str) -> None:
    """In a pipe there are no colours, each line is written once, and none is longer than 80 cells;
    the last lines are the commands to try next.
    """
    assert ESCAPE not in own_run
    assert own_run.count("One text, stage by stage") == own_run.count(" of 500 ") == 1
    assert max(map(len, own_run.splitlines())) <= 80
    assert "\nServer stopped, exit code 0. " in own_run
    serve, classify = own_run.splitlines()[-2:]
    assert serve.endswith("classwire serve")
    assert re.search(r'classwire classify ".+"$', classify)


def test_a_narrow_terminal_without_unicode(target: str) -> None:
    """On a terminal of 60 columns with LANG=C, no line is longer, every character is ASCII, the bar
    of the stream moves, and the screen has the chapters in colour.
    """
    environment = {"LANG": "C", "LC_ALL": "", "LC_CTYPE": ""}
    output = in_terminal([*DEMO, "--target", target], columns=60, environment=environment)
    assert output.isascii()
    assert ESCAPE + "[2K" in output
    screen = shown(output)
    assert ESCAPE + "[1;35m" in screen
    lines = plain(screen).splitlines()
    assert max(map(len, lines)) <= 60
    assert f"  {COUNTED}" in lines
    assert sum("of 500" in line for line in lines) == 1
    assert any(re.match(r"  5 stars  #+ +\d+$", line) for line in lines)


def test_sentences_are_wrapped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sentence that is longer than the terminal is wide goes on in the next line."""
    monkeypatch.setenv("COLUMNS", "60")
    sentence = "A model with a long name, on a device with a long name. " * 3
    screen = Screen(is_plain=True)
    for write in (screen.say, screen.note):
        write(sentence)
        written = capsys.readouterr().out
        assert max(map(len, written.splitlines())) <= 60
        assert written.split() == sentence.split()


def test_another_server_is_left_alone(target: str) -> None:
    """On a terminal of 100 columns with another server, all chapters are there; the demo kills
    nothing and says so.
    """
    output = in_terminal([*DEMO, "--target", target], columns=100)
    lines = plain(shown(output)).splitlines()
    assert f"Model stars-en at {target}" in lines
    assert f"  {COUNTED}" in lines
    assert "  nothing was killed: the server is not the demo's own" in lines
    assert 80 < max(map(len, lines)) <= 100
    assert "Server stopped" not in "\n".join(lines)


@pytest.mark.parametrize(
    ("options", "environment"),
    [(["--plain"], {}), ([], {"NO_COLOR": "1"}), ([], {"TERM": "dumb"})],
    ids=str,
)
def test_a_plain_terminal(target: str, options: Sequence[str], environment: dict[str, str]) -> None:
    """With --plain, NO_COLOR or TERM=dumb, a terminal gets no escape sequence."""
    output = in_terminal([*DEMO, "--target", target, *options], environment=environment)
    assert ESCAPE not in output
    assert COUNTED in output


def test_forced_colours_in_a_pipe(target: str, spawn: Spawn) -> None:
    """FORCE_COLOR brings colours into a pipe, and still nothing that moves the cursor."""
    with spawn("demo", "--target", target, FORCE_COLOR="1") as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert b"\x1b[1;35m" in out
    assert not re.search(rb"\x1b\[[^m]*[^\dm;]", out)


def test_a_failed_start_is_one_line(spawn: Spawn) -> None:
    """When its server fails to start, the demo prints one line with the server's last error."""
    with spawn("demo", "--device", "no-such-device") as process:
        _, err = process.communicate(timeout=110)
    (line,) = err.decode().splitlines()
    assert process.returncode == 1
    assert line.startswith("classwire: the server did not start: ")
    assert "no-such-device" in line


def test_a_device_is_for_the_demos_own_server(classwire: Run, target: str) -> None:
    """`--device` with a running server is a usage error, since it would have no effect."""
    ended = classwire("demo", "--target", target, "--device", "cpu")
    assert ended.code == 2
    assert "--device" in ended.complaint

"""`classwire demo`: its chapters on a terminal and in a pipe, the crash, and Ctrl-C."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.instrument import children, descendants
from classwire import Classification, Client, StreamResult
from classwire.cli.failures import uninterrupted
from classwire.testing import FakeServer
from classwire_server.cli.demo import crash
from classwire_server.cli.demo.crash import Crash, model_processes
from classwire_server.cli.demo.reviews import Review
from classwire_server.cli.demo.stream import STARS, ReviewStream
from scripts.terminal import in_terminal, shown
from scripts.terminal_picture import plain
from tests.cli.conftest import Run, Spawn
from tests.cli.test_stages import REFERENCE_TEXT, direct_stages
from tests.contract.engines import eventually
from tests.engine.worker.callers import is_gone, stop

DEMO = [sys.executable, "-m", "classwire", "demo"]
ESCAPE = "\x1b"
COUNTED = "500 ids sent: 500 answered once, 0 twice, 0 lost"
MARK = "CLASSWIRE_TESTED_DEMO"
"""Name of a variable that all processes of a tested demo have in their environment."""


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


def processes_marked(mark: str) -> list[int]:
    """Return the processes with the mark in their environment."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"{MARK}={mark}\0".encode() in environment.read_bytes():
                found.append(int(environment.parent.name))
    return found


@pytest.mark.parametrize("moment", ["Starting a server", "500 reviews by one stream"])
def test_ctrl_c_leaves_nothing_behind(spawn: Spawn, moment: str) -> None:
    """Ctrl-C, at the start or in the stream, ends with one line and exit code 130. Neither the
    server nor a model's process remains.
    """
    with spawn("demo", **{MARK: moment}) as process:
        assert process.stdout
        while not process.stdout.readline().startswith(moment.encode()):
            pass
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"classwire: interrupted\n")
    assert eventually(lambda: processes_marked(moment) == [])


def test_a_second_ctrl_c_does_not_wait_for_the_server(spawn: Spawn) -> None:
    """If the server does not stop after Ctrl-C, another one kills it, with its processes."""
    with spawn("demo", **{MARK: "second"}) as process:
        assert process.stdout
        while not process.stdout.readline().startswith(b"It serves"):
            pass
        [server] = children(process.pid)
        others = descendants(server)
        stop(server)
        process.send_signal(signal.SIGINT)
        assert eventually(lambda: has_sigterm_pending(server), 60)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"classwire: interrupted\n")
    assert others
    assert eventually(lambda: all(map(is_gone, [server, *others])))
    assert eventually(lambda: processes_marked("second") == [])


def has_sigterm_pending(pid: int) -> bool:
    """Whether SIGTERM waits for a stopped process."""
    status = Path(f"/proc/{pid}/status").read_text()
    pending = re.findall(r"^(?:SigPnd|ShdPnd):\s*(\w+)$", status, re.M)
    return any(int(mask, 16) >> (signal.SIGTERM - 1) & 1 for mask in pending)


def test_sigterm_stops_the_demo_and_its_server(spawn: Spawn) -> None:
    """SIGTERM stops the demo and its server, with exit code 143."""
    with spawn("demo", **{MARK: "sigterm"}) as process:
        assert process.stdout
        assert process.stdout.readline().startswith(b"Starting a server")
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (143, b"")
    assert eventually(lambda: processes_marked("sigterm") == [])


def test_signals_wait_for_the_end_of_a_step() -> None:
    """A signal while a process is being started or ended takes effect after it."""
    steps = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            steps.append("done")
        steps.append("more")
    assert steps == ["done"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


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


@pytest.fixture
def family() -> Iterator[tuple[int, int]]:
    """Yield the process ids of a process, started by this one, and of its child."""
    child = [sys.executable, "-c", "input()"]
    code = f"import subprocess; subprocess.run({child!r})"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        assert eventually(lambda: children(process.pid) != [])
        [grandchild] = children(process.pid)
        yield process.pid, grandchild
        process.communicate(b"\n", timeout=60)


@pytest.mark.parametrize("proc", ["/proc", "/no-such-folder"])
def test_a_models_process_is_found(
    family: tuple[int, int], monkeypatch: pytest.MonkeyPatch, proc: str
) -> None:
    """The process of a model is the one below the server that has no child, in /proc or by ps."""
    monkeypatch.setattr(crash, "_PROC", Path(proc))
    server, worker = family
    assert model_processes(server) == {worker}
    assert model_processes(worker) == set()


def test_where_no_process_is_found_nothing_is_killed(
    family: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without /proc and ps the demo kills nothing, says so, and goes on."""
    monkeypatch.setattr(crash, "_PROC", Path("/no-such-folder"))
    monkeypatch.setattr(crash, "_PS", ("no-such-program",))
    server, worker = family
    stream = ReviewStream(STARS, [Review("good", 5), Review("bad", 1)], Crash(server))
    with FakeServer(STARS) as fake, Client(fake.target) as client:
        stream.run(client, "fake", 60)
    sentences = [sentence for sentence, _ in stream.findings()]
    assert sentences[0] == "2 ids sent: 2 answered once, 0 twice, 0 lost"
    assert "nothing was killed: no process of the model was found" in sentences
    assert not is_gone(worker)


class Careless:
    """A client whose stream loses the second text, and answers the third twice."""

    def __init__(self, answer: Classification) -> None:
        self._answer = answer

    def classify_stream(self, texts: Sequence[str], **_: object) -> Iterator[StreamResult]:
        """Yield the results."""
        for index in (0, 2, 2):
            yield StreamResult(str(index), index, self._answer)


def test_lost_and_repeated_answers_are_counted() -> None:
    """Ids without an answer and with several are counted, in red."""
    reviews = [Review("a", 5), Review("b", 5), Review("c", 4)]
    stream = ReviewStream(STARS, reviews, None)
    with FakeServer(STARS) as fake, Client(fake.target) as client:
        stream.run(Careless(client.classify("a")), "fake", 60)  # type: ignore[arg-type]
    (sentence, style), *_ = stream.findings()
    assert (sentence, style) == ("3 ids sent: 1 answered once, 1 twice, 1 lost", "bold red")

"""`classwire demo`, from starting a server to stopping it."""

import re

from tests.cli.conftest import Run, Spawn


def test_the_demo_does_the_reference_job_on_a_running_server(classwire: Run, target: str) -> None:
    """The demo classifies on a running server by unary call with stages, by batch with one bad
    text, and by stream.
    """
    ended = classwire("demo", "--target", target)
    assert (ended.code, ended.err) == (0, "")
    assert f"Model stars-en at {target}\n  BertForSequenceClassification, 5 labels" in ended.out
    unary, batch, stream = ended.out.split("\nOne text")[1].split(" texts ")
    assert '"I really love this book"' in unary
    assert [f"Stage {number}" in unary for number in (1, 2, 3)] == [True] * 3
    assert batch.count('"\n') == 7
    assert "EMPTY_TEXT" in batch
    verdict = next(line for line in batch.splitlines() if "really love this book" in line)
    assert verdict in stream.splitlines()
    counts = [
        int(line.split()[-1]) for line in stream.splitlines() if re.search(r"stars? .*\d$", line)
    ]
    assert (len(counts), sum(counts)) == (5, 49)
    assert "0 errors" in stream
    assert "Server stopped" not in ended.out


def test_the_demo_starts_and_stops_a_server_of_its_own(spawn: Spawn) -> None:
    """Without a server the demo starts one, stops it, and exits with 0."""
    with spawn("demo", COLUMNS="80") as process:
        out, err = process.communicate(timeout=110)
    shown = out.decode()
    assert (process.returncode, err) == (0, b"")
    assert "Stage 3: probabilities (softmax)" in shown
    assert shown.splitlines()[-1].startswith("Server stopped, exit code 0.")
    assert max(map(len, shown.splitlines())) <= 80


def test_stopping_the_demo_stops_its_server(spawn: Spawn) -> None:
    """SIGTERM stops the demo and its server, with exit code 143."""
    with spawn("demo") as process:
        assert process.stdout
        assert process.stdout.readline().startswith(b"Starting a server")
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (143, b"")


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

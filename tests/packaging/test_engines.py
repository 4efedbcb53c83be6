"""The engines of the installed server, with the torch and transformers that are installed."""

import os
import signal
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch")
transformers: Any = pytest.importorskip("transformers")

from classwire import Classification, Client  # noqa: E402
from classwire_server.config.server_config import EMBEDDED_FOLDER  # noqa: E402

COMMAND = Path(sysconfig.get_path("scripts")) / "classwire"
TEXTS = (
    "I really love this book",
    "ok",
    "The hotel room was clean but the breakfast was cold and the staff rude. " * 9,
    "Terrible software: it crashed twice a day and lost all of my work!",
    "It's fine, I suppose; nothing special. " * 3,
)
CAN_PACK = int(transformers.__version__.partition(".")[0]) >= 5
QUIET = {**os.environ, "PYTHONWARNINGS": "ignore"}
"""Old versions of torch warn about themselves."""

pytestmark = pytest.mark.timeout(300)  # compiling takes a minute


@pytest.fixture(scope="module")
def expected() -> list[list[float]]:
    """Scores of direct use of transformers, one text at a time: (texts, labels)."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        EMBEDDED_FOLDER, dtype=torch.float32
    ).eval()
    with torch.inference_mode():
        logits = [model(**tokenizer(text, return_tensors="pt")).logits[0] for text in TEXTS]
    return [row.softmax(-1).tolist() for row in logits]


@contextmanager
def serving(*options: str) -> Iterator[Client]:
    """Run `classwire serve` with these options, and yield a client that is connected to it."""
    command = [str(COMMAND), "serve", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=QUIET) as server:
        assert server.stdout is not None
        try:
            address = server.stdout.readline().removeprefix("listening on ").strip()
            assert server.stdout.readline() == "serving\n"
            with Client(address) as client:
                yield client
            server.send_signal(signal.SIGTERM)
            assert server.wait(timeout=60) == 0
        finally:
            server.kill()


def difference(client: Client, expected: list[list[float]]) -> float:
    """The largest difference of any score from the expected ones."""
    rows = [
        [score.score for score in sorted(outcome.scores, key=lambda score: score.label_id)]
        for outcome in client.classify_batch(TEXTS)
        if isinstance(outcome, Classification)
    ]
    return float((torch.tensor(rows) - torch.tensor(expected)).abs().max())


@pytest.mark.parametrize(("precision", "at_most"), [("float32", 1e-5), ("int8", 0.03)])
def test_scores_are_those_of_direct_use(
    expected: list[list[float]], precision: str, at_most: float
) -> None:
    """float32 gives the scores of direct use to 1e-5, int8 to 0.03. Texts run packed, or, with
    transformers 4, grouped.
    """
    with serving("--precision", precision) as client:
        engine = client.classify("I really love this book").model
        assert difference(client, expected) <= at_most

    assert (engine.precision, engine.layout) == (precision, "packed" if CAN_PACK else "padded")


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_compile(expected: list[list[float]], tmp_path: Path, precision: str) -> None:
    """`classwire compile` fills the cache, and a server changes over to the compiled engine with
    the same scores. With transformers 4, it names the version that it needs.
    """
    options = ("--precision", precision, "--compile-cache", str(tmp_path))

    ended = subprocess.run(
        [COMMAND, "compile", *options], env=QUIET, capture_output=True, text=True, check=False
    )

    if not CAN_PACK:
        assert ended.returncode == 1
        assert "transformers 5.0" in ended.stderr
        return
    assert ended.returncode == 0, ended.stderr
    with serving("--compile", *options) as client:
        while client.classify("I really love this book").model.execution != "compiled":
            pass
        assert difference(client, expected) <= (1e-5 if precision == "float32" else 0.03)

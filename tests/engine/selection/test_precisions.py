"""The choice of a precision: the same each time, close to float32, and never worse than it."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from classwire_server.engine import Precision
from classwire_server.engine.forward.precision import convert
from classwire_server.engine.selection import choice as selection
from classwire_server.engine.selection import layouts
from classwire_server.engine.selection.calibration import PARITY_TEXTS
from classwire_server.engine.selection.choice import Selection
from classwire_server.engine.selection.processor import Processor
from classwire_server.errors import CheckpointError

LENIENT = {"min_label_agreement": 0.0, "max_score_difference": 1.0}

Choose = Callable[..., Selection]
OnProcessor = Callable[..., None]


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> OnProcessor:
    """Sets the instructions of this machine's processor."""

    def set_to(*instructions: str) -> None:
        found = Processor(frozenset(instructions), has_exact_int8=True)
        monkeypatch.setattr(selection, "this_processor", lambda: found)

    return set_to


@pytest.fixture
def fastest(processor: OnProcessor) -> None:
    """A processor with instructions for int8 and bfloat16."""
    processor("avx512_vnni", "avx512_bf16")


@pytest.mark.parametrize(
    ("instructions", "expected"),
    [
        (("avx512_vnni", "avx512_bf16"), Precision.INT8),
        (("avx512_bf16",), Precision.BFLOAT16),
    ],
)
def test_auto_takes_the_first_of_the_processor(
    choose: Choose,
    processor: OnProcessor,
    instructions: tuple[str, ...],
    expected: Precision,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Auto takes the first precision of the table that is close enough, and logs its deviation."""
    caplog.set_level(logging.INFO, "classwire_server")
    processor(*instructions)
    chosen = choose(precision="auto", **LENIENT)
    assert chosen.engine.traits.precision is expected
    assert chosen.deviation.max_score_difference > 1e-5
    (line,) = [message for message in caplog.messages if "accepted" in message]
    assert line.startswith(f"bert: {expected.value}: labels agree on ")


def test_auto_without_fast_instructions(choose: Choose, processor: OnProcessor) -> None:
    """Auto is float32 on a processor that has no fast instructions for another precision. It
    compares no precisions, and says why.
    """
    processor("avx2")
    chosen = choose(precision="auto", **LENIENT)
    assert chosen.engine.traits.precision is Precision.FLOAT32
    assert chosen.deviation.texts == len(PARITY_TEXTS) + 1  # and one of special tokens
    (why,) = [choice.why for choice in chosen.choices if choice.what == "precision"]
    assert why == "the table has no faster precision for this processor"


@pytest.mark.usefixtures("fastest")
def test_auto_rejects_a_large_deviation(choose: Choose, caplog: pytest.LogCaptureFixture) -> None:
    """Auto takes float32 if no lower precision is close enough."""
    caplog.set_level(logging.INFO, "classwire_server")
    chosen = choose(precision="auto", max_score_difference=1e-9)
    assert chosen.engine.traits.precision is Precision.FLOAT32
    assert 0 < chosen.deviation.max_score_difference <= 1e-5
    assert sum("rejected" in message for message in caplog.messages) == 2


@pytest.mark.usefixtures("fastest")
def test_auto_rejects_perturbed_weights(choose: Choose, monkeypatch: pytest.MonkeyPatch) -> None:
    """An int8 model with one corrupt layer has a larger deviation, and auto does not take it."""
    honest = choose(precision="int8")

    def corrupt(model: transformers.PreTrainedModel, precision: Precision) -> None:
        if precision is Precision.INT8:
            bert: Any = model.base_model
            torch.nn.init.normal_(bert.encoder.layer[0].output.dense.weight)
        convert(model, precision)

    monkeypatch.setattr(layouts, "convert", corrupt)
    corrupted = choose(precision="int8")
    assert corrupted.deviation.max_score_difference > 2 * honest.deviation.max_score_difference
    bound = 1.5 * honest.deviation.max_score_difference
    settings = {"precision": "auto", "min_label_agreement": 0.0, "max_score_difference": bound}
    assert choose(**settings).engine.traits.precision is not Precision.INT8


@pytest.mark.usefixtures("fastest")
@pytest.mark.parametrize("layout", ["packed", "padded"])
def test_the_choice_is_the_same_each_time(
    choose: Choose, checkpoint: Callable[..., Path], tmp_path: Path, layout: str
) -> None:
    """Starts choose the same precision and measure the same deviation, to the last bit, whatever
    the number of lanes and threads.
    """
    calibration = tmp_path / "texts.txt"
    calibration.write_text("I really love this book", "utf-8")  # few rows: threads split the sums
    sizes = {"hidden_size": 192, "pooler_hidden_size": 192, "num_hidden_layers": 1}
    folder = checkpoint("bert" if layout == "packed" else "deberta-v2", **sizes)
    settings: dict[str, Any] = {
        "model": (f"m={folder}",),
        "calibration": str(calibration),
        **LENIENT,
    }
    divisions = ((1, 1), (1, 2), (2, 1), (1, 3), (2, 2))
    found = {
        (chosen.engine.traits.precision, chosen.engine.traits.layout.value, chosen.deviation)
        for lanes, threads in divisions
        for chosen in [choose(precision="auto", lanes=lanes, threads=threads, **settings)]
    }
    ((precision, chosen_layout, _),) = found
    assert (precision, chosen_layout) == (Precision.INT8, layout)


@pytest.mark.usefixtures("fastest")
@pytest.mark.parametrize(
    "error",
    [AttributeError("no such\nweight"), LookupError("no such key"), MemoryError("no memory left")],
)
def test_auto_goes_on_after_any_failure(
    choose: Choose, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A precision that fails in any way is left out of auto, which names the error. Set by
    --precision, it is an error of one line.
    """

    def fail(model: transformers.PreTrainedModel, precision: Precision) -> None:
        if precision is Precision.INT8:
            raise error
        convert(model, precision)

    monkeypatch.setattr(layouts, "convert", fail)
    chosen = choose(precision="auto", **LENIENT)
    assert chosen.engine.traits.precision is Precision.BFLOAT16
    line = str(error).splitlines()[0]
    (why,) = [choice.why for choice in chosen.choices if choice.what == "precision"]
    assert f"int8 does not run: {line}; bfloat16: labels agree" in why
    with pytest.raises(CheckpointError) as raised:
        choose(precision="int8")
    assert str(raised.value).endswith(f": does not run in int8: {line}")


def test_code_that_reads_weights_runs_in_int8(
    choose: Choose, checkpoint: Callable[..., Path]
) -> None:
    """DeBERTa, whose code reads the weight of a table, runs in int8 close to float32."""
    folder = checkpoint("deberta-v2", num_hidden_layers=1)
    chosen = choose(model=(f"m={folder}",), precision="int8")
    assert chosen.engine.traits.precision is Precision.INT8
    assert chosen.deviation.label_agreement > 0.8
    assert 1e-5 < chosen.deviation.max_score_difference < 0.1


@pytest.fixture
def overflowing(checkpoint: Callable[..., Path], tmp_path: Path) -> Path:
    """A checkpoint whose logits are finite in float32 and overflow in float16."""
    source = checkpoint("bert")
    model: Any = transformers.BertForSequenceClassification.from_pretrained(source)
    torch.nn.init.constant_(model.bert.encoder.layer[0].output.dense.bias, 1e6)
    model.save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(tmp_path)
    return tmp_path


def test_a_checkpoint_that_overflows(
    choose: Choose, overflowing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A precision with logits that are not finite is an error, and auto never takes it."""
    with pytest.raises(CheckpointError, match="its logits are not finite in float16"):
        choose(model=(f"big={overflowing}",), precision="float16")
    monkeypatch.setattr(selection, "faster_than_float32", lambda *_: (Precision.FLOAT16,))
    chosen = choose(model=(f"big={overflowing}",), precision="auto", **LENIENT)
    assert chosen.engine.traits.precision is Precision.FLOAT32

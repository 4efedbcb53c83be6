"""The texts that precisions are compared on, and the measure of their difference."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from classwire_server.checkpoint.loading import Checkpoint, ProblemType, load_checkpoint
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import EMBEDDED_FOLDER, ServerConfig
from classwire_server.engine import Deviation, Precision
from classwire_server.engine.forward import int8 as quantization
from classwire_server.engine.forward.packed import PackedEngine, PackedModel
from classwire_server.engine.packing import PackedTexts, pack
from classwire_server.engine.selection.calibration import (
    PARITY_TEXTS,
    accepts,
    calibration_texts,
    measure_deviation,
)
from classwire_server.errors import ConfigError
from classwire_server.scoring import Activation
from classwire_server.tokenization import Text, Truncation

CONFIG = ServerConfig()
WIDE = ServerConfig(min_label_agreement=0.9, max_score_difference=0.1)


def _deviation(expected: list[list[float]], actual: list[list[float]]) -> Deviation:
    return measure_deviation(
        np.array(expected, np.float32),
        np.array(actual, np.float32),
        Activation.SOFTMAX,
        ProblemType.SINGLE_LABEL,
    )


def _packed(checkpoint: Checkpoint, texts: tuple[Text, ...]) -> PackedTexts:
    tokenization = checkpoint.tokenization(Truncation.DROP_END)
    return pack([tokenization.encode(text, None, field="") for text in texts])


def _compared(
    folder: Path,
    change: Callable[[PreTrainedModel], None],
    texts: tuple[Text, ...] = PARITY_TEXTS,
    prepare: Callable[[PreTrainedModel], None] = lambda model: None,
) -> Deviation:
    """The deviation of a prepared checkpoint after a change."""
    checkpoint, model, _ = load_checkpoint(ModelSource("m", str(folder)), CONFIG)
    prepare(model)
    packed = _packed(checkpoint, texts)
    names = checkpoint.input_names
    reference = PackedEngine(PackedModel(model, names), "cpu")
    expected = reference.run(packed)
    change(reference.model.unpack())
    actual = PackedEngine(PackedModel(model, names), "cpu", Precision.INT8).run(packed)
    return measure_deviation(expected, actual, checkpoint.activation, checkpoint.problem_type)


def test_the_built_in_texts() -> None:
    """There are 128 different texts: pairs, many scripts, up to the model's limit of tokens."""
    texts = calibration_texts()
    assert len(set(texts)) == len(texts) == 128
    assert sum(text.text_pair is not None for text in texts) == 10
    for script in "яτעهहবதไ这で배🎉":
        assert any(script in text.text for text in texts), script
    checkpoint, *_ = load_checkpoint(ModelSource("m", str(EMBEDDED_FOLDER)), CONFIG)
    lengths = _packed(checkpoint, texts).lengths
    assert lengths.min() <= 4
    assert lengths.max() == 512
    assert sum(lengths) < 6_000  # a large model takes some seconds for them


def test_the_user_s_file(tmp_path: Path) -> None:
    """Each line is a text, unchanged. Blank lines are skipped, and Windows line endings work."""
    file = tmp_path / "texts"
    file.write_bytes("\ufeffone\r\n\r\n  two words \n\t\nвосемь 🙂".encode())
    assert calibration_texts(str(file)) == (Text("one"), Text("  two words "), Text("восемь 🙂"))


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"caf\xe9\n", "is not UTF-8"), (b" \n\n", "has no text"), (None, "No such file")],
)
def test_unusable_files(content: bytes | None, problem: str, tmp_path: Path) -> None:
    """The error for a file that is missing, empty or not UTF-8 names the setting."""
    file = tmp_path / "texts"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=f"--calibration: .*{problem}") as caught:
        calibration_texts(str(file))
    assert caught.value.setting == "calibration"


def test_agreement_and_difference() -> None:
    """Labels are compared by the highest score, and differences are between probabilities."""
    expected = [[0.0, 0.0, 9.0], [0.0, 1.0, 0.0], [np.log(3), 0.0, -99.0], [5.0, 0.0, 0.0]]
    actual = [[0.0, 0.0, 8.0], [0.0, 1.0, 0.0], [0.0, np.log(3), -99.0], [5.0, 0.0, 0.0]]
    deviation = _deviation(expected, actual)
    assert (deviation.texts, deviation.label_agreement) == (4, 0.75)
    assert deviation.max_score_difference == pytest.approx(0.5)
    assert _deviation(expected, expected) == Deviation(4, 1.0, 0.0)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite(wrong: float) -> None:
    """Any of them makes the difference infinite and counts as another label."""
    expected = [[0.0, 9.0], [0.0, 9.0]]
    for row in ([0.0, wrong], [wrong, 9.0], [wrong, wrong]):
        deviation = _deviation(expected, [[0.0, 9.0], row])
        assert deviation == Deviation(2, 0.5, float("inf"))
        assert not accepts(deviation, ServerConfig(min_label_agreement=0))


def test_regression_is_measured_relative_to_its_range() -> None:
    """The largest difference is divided by the range of the float32 answers."""
    expected, actual = np.array([[2.0], [4.0], [12.0]]), np.array([[2.0], [4.5], [11.9]])
    deviation = measure_deviation(expected, actual, Activation.IDENTITY, ProblemType.REGRESSION)
    assert deviation.label_agreement == 1.0
    assert deviation.max_score_difference == pytest.approx(0.05)
    actual[1] = np.nan
    deviation = measure_deviation(expected, actual, Activation.IDENTITY, ProblemType.REGRESSION)
    assert deviation.label_agreement == pytest.approx(2 / 3)
    assert deviation.max_score_difference == float("inf")


@pytest.mark.parametrize(
    ("agreement", "difference", "accepted"),
    [(0.99, 0.03, True), (0.98, 0.0, False), (1.0, 0.031, False)],
)
def test_what_is_accepted(agreement: float, difference: float, accepted: bool) -> None:
    """Both limits apply, and both are settings."""
    deviation = Deviation(128, agreement, difference)
    assert accepts(deviation, CONFIG) is accepted
    assert accepts(deviation, WIDE)


def test_int8_of_the_embedded_checkpoint_is_near_float32() -> None:
    """On the built-in texts int8 keeps nine of ten labels and moves no score by more than 0.1.

    Whether it is within the default limits depends on the processor's instructions.
    """
    deviation = _compared(EMBEDDED_FOLDER, quantization.quantize, calibration_texts())
    assert deviation.texts == 128
    assert deviation.max_score_difference > 0
    assert accepts(deviation, WIDE)


def test_perturbed_int8_weights_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong weights increase the deviation and are not accepted."""
    honest = _compared(EMBEDDED_FOLDER, quantization.quantize)
    int8_rows = quantization.int8_rows
    generator = torch.Generator().manual_seed(1)

    def perturbed(weight: torch.Tensor, levels: int) -> tuple[torch.Tensor, torch.Tensor]:
        rows, scales = int8_rows(weight, levels)
        noise = torch.randint(-levels // 2, levels // 2, rows.shape, generator=generator)
        return (rows + noise).clamp(-levels, levels).to(torch.int8), scales

    monkeypatch.setattr(quantization, "int8_rows", perturbed)
    deviation = _compared(EMBEDDED_FOLDER, quantization.quantize)
    assert deviation.max_score_difference > 2 * honest.max_score_difference
    assert not accepts(deviation, WIDE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_checkpoint_that_overflows_is_rejected(
    dtype: torch.dtype, checkpoint: Callable[..., Path]
) -> None:
    """A weight that overflows in half precision makes the deviation infinite."""

    def large(model: PreTrainedModel) -> None:
        with torch.no_grad():
            dict(model.named_parameters())["classifier.bias"][0] = 3.4e38

    deviation = _compared(
        checkpoint("bert"), lambda model: quantization.halve(model, dtype), prepare=large
    )
    assert deviation == Deviation(len(PARITY_TEXTS), 0.0, float("inf"))
    assert not accepts(deviation, CONFIG)

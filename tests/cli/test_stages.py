"""`classwire classify --stages`: the three stages of the reference job."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.cli.conftest import Run

REFERENCE_TEXT = "I really love this book"


def direct_stages(folder: Path, text: str) -> tuple[dict[str, Any], torch.Tensor, torch.Tensor]:
    """Return the stages of the reference job by transformers, in this process."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    encoding = tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        logits = model(**encoding).logits[0]
    inputs = {name: values[0].tolist() for name, values in encoding.items()}
    inputs["tokens"] = tokenizer.convert_ids_to_tokens(inputs["input_ids"])
    return inputs, logits, torch.softmax(logits, dim=-1)


def test_stages_are_those_of_transformers(
    classwire: Run, target: str, embedded_folder: Path
) -> None:
    """The stages equal those of transformers in-process: ids, token types and mask; logits;
    probabilities.
    """
    inputs, logits, probabilities = direct_stages(embedded_folder, REFERENCE_TEXT)
    ended = classwire("classify", "--target", target, "--stages", "--json", REFERENCE_TEXT)
    ((record,), code) = ended.records, ended.code
    stages = record["stages"]
    assert code == 0
    for name in ("tokens", "input_ids", "token_type_ids", "attention_mask"):
        assert stages[name] == inputs[name]
    labels = ["1 star", "2 stars", "3 stars", "4 stars", "5 stars"]
    for stage, key, direct in (
        ("logits", "logit", logits),
        ("probabilities", "score", probabilities),
    ):
        assert [each["label"] for each in stages[stage]] == labels
        assert [each[key] for each in stages[stage]] == pytest.approx(direct.tolist(), abs=1e-5)


def test_stages_are_printed_in_three_parts(
    classwire: Run, target: str, embedded_folder: Path
) -> None:
    """The printed stages have the same numbers, ids below tokens, in the order of the labels."""
    inputs, logits, probabilities = direct_stages(embedded_folder, REFERENCE_TEXT)
    ended = classwire("classify", "--target", target, "--stages", REFERENCE_TEXT)
    first, second, third = [part.splitlines() for part in ended.out.split("\n\n")]
    assert [line.split()[1:] for line in first[1:]] == [
        inputs["tokens"],
        [str(value) for value in inputs["input_ids"]],
        [str(value) for value in inputs["token_type_ids"]],
        [str(value) for value in inputs["attention_mask"]],
    ]
    for lines, direct in ((second, logits), (third, probabilities)):
        shown = [float(line.split()[-1]) for line in lines[1:]]
        assert shown == pytest.approx(direct.tolist(), abs=1e-5)


def test_stages_of_several_texts_go_on_past_a_bad_one(classwire: Run, target: str) -> None:
    """A bad text is an error line, the others have their stages, and the exit code is 1."""
    ended = classwire("classify", "--target", target, "--stages", "fine", " ", "good")
    assert (ended.code, ended.complaint) == (1, "text 2: the text is empty or blank")
    assert ended.out.count("Stage 3") == 2
    ended = classwire("classify", "--target", target, "--stages", "--json", " ")
    assert (ended.code, ended.complaint) == (2, "the text is empty or blank")
    assert ended.records[0]["error"]["reason"] == "EMPTY_TEXT"

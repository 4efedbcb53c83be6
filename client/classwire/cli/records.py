"""Results as lines of JSON or of tabs, in UTF-8, with the exact values of the server's float32."""

import dataclasses
import json
import math
import struct
import sys
from typing import Any

from classwire import (
    CandidateScore,
    Classification,
    ClasswireError,
    LabelScore,
    Outcome,
    TextInput,
    ZeroShotClassification,
)

from .failures import field_name
from .rows import Row

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {
    ord(character): character.encode("unicode_escape").decode()
    for character in "\\\t\n\r\u2028\u2029"
}
"""How Python, and most languages, write control characters, line breaks and the backslash."""


def json_line(record: object) -> bytes:
    """Return a record as one line of JSON in UTF-8.

    It writes an unpaired surrogate, which UTF-8 cannot encode, as a JSON escape.
    """
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def print_line(line: bytes) -> None:
    """Write a line to standard output at once."""
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


def tab_line(row: Row, outcome: Outcome | ZeroShotClassification) -> bytes:
    """Return label, score and text, separated by tabs, as one line. Without a score both are empty.

    Control characters, line breaks and backslashes are escaped.
    """
    text = row.content.text if isinstance(row.content, TextInput) else ""
    best = outcome.scores[0] if not isinstance(outcome, ClasswireError) and outcome.scores else None
    values = [best.label, repr(shortest(best.score)), text] if best else ["", "", text]
    line = "\t".join(value.translate(_ESCAPES) for value in values)
    return line.encode("utf-8", "backslashreplace") + b"\n"


def outcome_record(outcome: Outcome | ZeroShotClassification) -> dict[str, Any]:
    """Return the scores, or the error, of one text."""
    if isinstance(outcome, ClasswireError):
        return {"error": error_record(outcome)}
    best = outcome.scores[0] if outcome.scores else None
    return {
        "label": best.label if best else None,
        "score": shortest(best.score) if best else None,
        "scores": [score_record(score) for score in outcome.scores],
        **windows_record(outcome),
    }


def windows_record(outcome: Classification | ZeroShotClassification) -> dict[str, Any]:
    """Return the windows of a text, if they were asked for; scores are in the order of the ids."""
    if isinstance(outcome, ZeroShotClassification) or not outcome.windows:
        return {}
    windows = [dataclasses.asdict(window) for window in outcome.windows]
    for window in windows:
        window["scores"] = [shortest(score) for score in window["scores"]]
    return {"windows": windows}


def full_record(
    text: TextInput | ClasswireError, outcome: Outcome | ZeroShotClassification
) -> dict[str, Any]:
    """Return the record of --json. A line that is not UTF-8 has no text."""
    record: dict[str, Any] = {}
    if isinstance(text, TextInput):
        record["text"] = text.text
        if text.text_pair is not None:
            record["text_pair"] = text.text_pair
    record |= outcome_record(outcome)
    if isinstance(outcome, ClasswireError):
        return record
    if isinstance(outcome, Classification):
        record["activation"] = outcome.activation
    record |= {
        "token_count": outcome.token_count,
        "truncated_tokens": outcome.truncated_tokens,
        "window_count": outcome.window_count,
    }
    if isinstance(outcome, Classification):
        record["aggregation"] = outcome.aggregation
    record["model"] = dataclasses.asdict(outcome.model)
    record["timing"] = dataclasses.asdict(outcome.timing)
    return record


def stages_record(
    result: Classification, mask: tuple[int, ...], labels: tuple[str, ...]
) -> dict[str, Any]:
    """Return the three stages of a classification, each in the order of its ids."""
    by_id = sorted(result.scores, key=lambda score: score.label_id)
    return {
        "tokens": [token.text for token in result.tokens],
        "input_ids": [token.id for token in result.tokens],
        "token_type_ids": [token.token_type_id for token in result.tokens],
        "attention_mask": list(mask),
        "logits": [
            {"label": label, "label_id": label_id, "logit": shortest(logit)}
            for label_id, (label, logit) in enumerate(zip(labels, result.logits, strict=True))
        ],
        "probabilities": [score_record(score) for score in by_id],
    }


def score_record(score: LabelScore | CandidateScore) -> dict[str, Any]:
    """Return one label's score."""
    return dataclasses.asdict(score) | {"score": shortest(score.score)}


def error_record(error: ClasswireError) -> dict[str, Any]:
    """Return an error as a record."""
    return {
        "code": error.code.name,
        "reason": error.reason or None,
        "message": error.message,
        "field": field_name(error) or None,
    }


def shortest(value: float) -> float | None:
    """Return a float32 as the double with the fewest digits that reads back as the same float32.

    None stands for infinity, which JSON cannot write.
    """
    if not math.isfinite(value):
        return None
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        if struct.unpack("f", struct.pack("f", short)) == (value,):
            return short
    return float(f"{value:.9g}")

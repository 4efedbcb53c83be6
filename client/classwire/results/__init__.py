"""Inputs and results, as frozen dataclasses.

A result's `repr` is one line, which leaves out its longest parts. `to_dict` returns all of it as
plain values, which `json.dumps` and pandas take.
"""

from __future__ import annotations

from .classification import (
    Classification,
    LabelScore,
    ModelRef,
    Outcome,
    StreamItem,
    StreamResult,
    TextInput,
    TextWindow,
    Timing,
    Token,
    Tokenization,
    raise_for_errors,
)
from .descriptions import Deviation, Model, ModelLimits, ServerInfo, ServerLimits
from .ranking import FailedDocument, RankedDocument, Ranking
from .zero_shot import CandidateScore, ZeroShotClassification

__all__ = [
    "CandidateScore",
    "Classification",
    "Deviation",
    "FailedDocument",
    "LabelScore",
    "Model",
    "ModelLimits",
    "ModelRef",
    "Outcome",
    "RankedDocument",
    "Ranking",
    "ServerInfo",
    "ServerLimits",
    "StreamItem",
    "StreamResult",
    "TextInput",
    "TextWindow",
    "Timing",
    "Token",
    "Tokenization",
    "ZeroShotClassification",
    "raise_for_errors",
]

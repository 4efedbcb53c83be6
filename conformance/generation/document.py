"""The groups of vectors.json, and its layout."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conformance.checkpoints import CHECKPOINTS, EMBEDDED, EMBEDDED_FOLDER, make, make_faulty

from . import (
    batches,
    credentials,
    draining,
    errors,
    faults,
    ranking,
    scores,
    standard,
    stream_errors,
    streams,
    tokens,
    windows,
    zero_shot,
)
from .encoding import Json
from .reference import Reference

VECTORS = Path(__file__).parents[1] / "vectors.json"
TOLERANCE = 1e-5
FOR_ONE_GROUP = ("inference",)
"""Models that the other groups leave out: they would repeat what another model shows."""


def load(folder: Path) -> tuple[dict[str, Reference], dict[str, Reference]]:
    """Return the models of `serving`, and those with constant logits; writes tiny ones."""
    folders = {EMBEDDED: EMBEDDED_FOLDER}
    folders |= {name: make(name, folder / name) for name in CHECKPOINTS}
    serving = {name: Reference.load(name, path) for name, path in folders.items()}
    return serving, faults.models_of(Reference.load("faulty", make_faulty(folder / "faulty")))


def document(served: Mapping[str, Reference], faulty: Mapping[str, Reference]) -> dict[str, Any]:
    """All vectors."""
    models = {name: model for name, model in served.items() if name not in FOR_ONE_GROUP}
    groups = (
        ("classify", "serving", scores.classify_vectors(models)),
        ("options", "serving", scores.option_vectors(models)),
        ("activations", "serving", scores.activation_vectors(models)),
        ("pairs", "serving", scores.pair_vectors(models)),
        ("truncation", "serving", scores.truncation_vectors(models)),
        ("windows", "serving", windows.vectors(models)),
        ("rank", "serving", ranking.vectors(models)),
        ("zero-shot", "serving", zero_shot.vectors(served)),
        ("tokenize", "serving", tokens.vectors(models)),
        ("batches", "serving", batches.vectors(models)),
        ("streams", "serving", streams.vectors(models)),
        ("stream-errors", "serving", stream_errors.vectors(models)),
        ("errors", "serving", errors.vectors(models)),
        ("models", "serving", standard.model_vectors(served)),
        ("health", "serving", standard.health_vectors(served)),
        ("compression", "serving", standard.compression_vectors(models)),
        ("unimplemented", "serving", standard.unimplemented_vectors()),
        ("cancellation", "faulty", faults.cancellation_vectors(faulty)),
        ("deadlines", "faulty", faults.deadline_vectors(faulty)),
        ("faults", "faulty", faults.vectors(faulty)),
        ("draining", "draining", draining.vectors()),
        ("credentials", "guarded", credentials.vectors(faulty)),
    )
    for group, _, vectors in groups:
        names = [vector["name"] for vector in vectors]
        if len(set(names)) < len(names) or any(": " in name for name in names):
            raise ValueError(f"{group}: a name occurs twice or contains ': '")
    return {
        "tolerance": TOLERANCE,
        "groups": [
            {"name": name, "server": server, "vectors": vectors} for name, server, vectors in groups
        ],
    }


def laid_out(document: Mapping[str, Any]) -> str:
    """Return JSON with one line per vector; ASCII only, so that no editor changes a text."""
    groups = []
    for group in document["groups"]:
        vectors = ",\n".join(f"    {_line(vector)}" for vector in group["vectors"])
        head = f'"name": {_line(group["name"])}, "server": {_line(group["server"])}'
        groups.append(f'  {{{head}, "vectors": [\n{vectors}\n  ]}}')
    body = ",\n".join(groups)
    return f'{{"tolerance": {document["tolerance"]}, "groups": [\n{body}\n]}}\n'


def _line(value: Json | str) -> str:
    return json.dumps(value, ensure_ascii=True)


def generate() -> dict[str, Any]:
    """Return all vectors, computed from the checkpoints."""
    with tempfile.TemporaryDirectory() as folder:
        return document(*load(Path(folder)))

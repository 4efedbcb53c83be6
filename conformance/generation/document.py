"""The groups of vectors.json, and its layout."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conformance.checkpoints import CHECKPOINTS, EMBEDDED, EMBEDDED_FOLDER, make

from . import errors, standard, streams
from .calls import classify, text
from .encoding import Json
from .reference import Reference

VECTORS = Path(__file__).parents[1] / "vectors.json"
TOLERANCE = 1e-5


def load(folder: Path) -> dict[str, Reference]:
    """The models of `serving`, used directly; tiny ones are made in a folder."""
    folders = {
        EMBEDDED: EMBEDDED_FOLDER,
        **{name: make(name, folder / name) for name in CHECKPOINTS},
    }
    return {name: Reference.load(name, path) for name, path in folders.items()}


def document(models: Mapping[str, Reference]) -> dict[str, Any]:
    """All vectors."""
    stars, entailment = models[EMBEDDED], models["entailment"]
    groups = {
        "classify": [
            classify("a sentence", stars, text("I really love this book")),
            classify("a pair", entailment, text("The hotel was clean", "The room was good")),
        ],
        "streams": streams.vectors(models),
        "stream-errors": streams.ending_vectors(models),
        "errors": errors.vectors(models),
        "health": standard.health_vectors(),
        "unimplemented": standard.unimplemented_vectors(),
    }
    return {
        "tolerance": TOLERANCE,
        "groups": [
            {"name": name, "server": "serving", "vectors": vectors}
            for name, vectors in groups.items()
        ],
    }


def laid_out(document: Mapping[str, Any]) -> str:
    """JSON with a line for each vector; ASCII only, so that no editor can change a text."""
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
    """All vectors, from the checkpoints themselves."""
    with tempfile.TemporaryDirectory() as folder:
        return document(load(Path(folder)))

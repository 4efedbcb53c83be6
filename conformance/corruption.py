"""Vectors with two wrong values; every runner must report exactly these two."""

import copy
from collections.abc import Mapping
from typing import Any

WRONG_BY = 1e-3
WRONG_REASON = "NO_SUCH_REASON"


def corrupted(document: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """Return a copy with one wrong score and one wrong reason, and their vectors' `group/name`."""
    changed = copy.deepcopy(dict(document))
    score = next(
        (f"{group['name']}/{vector['name']}", scores[0])
        for group in changed["groups"]
        for vector in group["vectors"]
        if (scores := vector["expect"].get("response", {}).get("result", {}).get("scores"))
    )
    score[1]["score"] += WRONG_BY
    reason = next(
        (f"{group['name']}/{vector['name']}", error)
        for group in changed["groups"]
        for vector in group["vectors"]
        if "reason" in (error := vector["expect"].get("error", {}))
    )
    reason[1]["reason"] = WRONG_REASON
    return changed, {score[0], reason[0]}

"""What the sweep finds for a type: right, wrong or refused, and what the types add up to. Pure."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

RIGHT, WRONG, REFUSED = "right", "wrong", "refused"
FLAT, NOT_RUN = "flat", "not_run"
VERDICTS = (RIGHT, WRONG, REFUSED, FLAT, NOT_RUN)
DIFFERENT = 0.1
"""By how much the scores of a type's texts must differ, so that a right answer means something."""


@dataclass(frozen=True)
class Promise:
    """How far a score may be from the truth, and the share of labels that stay the same."""

    score: float = 1e-5
    labels: float = 0.99


Finding = Mapping[str, Any]
"""`type`, `verdict` and `reason`; for a served one also `deviation`, `layout` and `precision`."""


def finding(
    model_type: str,
    truth: Mapping[str, Any],
    observed: Mapping[str, Any],
    promise: Promise = Promise(),
) -> dict[str, Any]:
    """Compare what the server answered with the truth of a type."""
    found: dict[str, Any] = {"type": model_type, "reason": "", "deviation": None}
    found |= {name: truth.get(name, "") for name in ("tokenizer", "stand_in")}
    found |= {name: observed.get(name, "") for name in ("layout", "precision")}
    if why := cannot_run(truth):
        return found | {"verdict": NOT_RUN, "reason": why}
    if "load_error" in observed:
        return found | {"verdict": REFUSED, "reason": observed["load_error"]}
    wrong, refused, deviation = _compared(truth, observed, promise.score)
    found["deviation"] = deviation
    if truth["limit"] is not None and observed["max_tokens"] > truth["limit"]:
        wrong.append(f"accepts {observed['max_tokens']} tokens, the model takes {truth['limit']}")
    if observed["label_agreement"] < promise.labels:
        wrong.append(f"the server finds {observed['label_agreement']:.1%} of labels the same")
    if wrong:
        return found | {"verdict": WRONG, "reason": "; ".join(wrong)}
    if refused:
        return found | {"verdict": REFUSED, "reason": "; ".join(dict.fromkeys(refused))}
    if truth["spread"] < DIFFERENT:
        reason = f"scores of different texts differ by {truth['spread']:.2g} only"
        return found | {"verdict": FLAT, "reason": reason}
    return found | {"verdict": RIGHT}


def cannot_run(truth: Mapping[str, Any]) -> str:
    """Return why direct use can't run a type, else ""."""
    if "cannot_run" in truth:
        return str(truth["cannot_run"])
    reasons = [text.get("cannot_run") for text in truth["texts"]]
    return str(reasons[0]) if all(reasons) else ""


def _compared(
    truth: Mapping[str, Any], observed: Mapping[str, Any], tolerance: float
) -> tuple[list[str], list[str], float]:
    """Return wrong answers, refusals, and the largest deviation of a score."""
    wrong: list[str] = []
    refused: list[str] = []
    largest = 0.0
    for kind, answers in observed["answers"].items():
        off: dict[str, float] = {}
        for text, answer in zip(truth["texts"], answers, strict=True):
            if "cannot_run" in text:
                if "scores" in answer:
                    wrong.append(f"{kind}: answers a {text['kind']} that direct use cannot run")
            elif "error" in answer:
                refused.append(f"{text['kind']}: {answer['error']}")
            elif list(answer["labels"]) != truth["labels"]:
                wrong.append(f"{kind}: the labels are {answer['labels']}")
            else:
                deviation = _deviation(answer["scores"], text["scores"])
                largest = max(largest, deviation)
                if deviation > tolerance:
                    off[text["kind"]] = max(off.get(text["kind"], 0.0), deviation)
        if off:
            wrong.append(f"{kind}: {', '.join(off)} off by up to {max(off.values()):.2g}")
    return wrong, refused, largest


def _deviation(scores: Sequence[float], expected: Sequence[float]) -> float:
    """The largest difference of a score; infinite for one that is not a number."""
    differences = [abs(one - other) for one, other in zip(scores, expected, strict=True)]
    return math.inf if any(map(math.isnan, differences)) else max(differences)


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """Return the number of types by verdict."""
    by_verdict = Counter(each["verdict"] for each in findings)
    return {verdict: by_verdict[verdict] for verdict in VERDICTS if by_verdict[verdict]}


def faults(findings: Sequence[Finding], listed: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return a line for each type that is not right, unless it is listed under its verdict.

    A wrong one is always a fault; so is one that is listed and is right.
    """
    lines = []
    for each in findings:
        name, verdict = each["type"], each["verdict"]
        if verdict == RIGHT and any(name in types for types in listed.values()):
            lines.append(f"{name}: {verdict}, but listed in refusals.toml")
        elif verdict == WRONG or (verdict != RIGHT and name not in listed.get(verdict, {})):
            lines.append(f"{name}: {verdict}: {each['reason']}")
    return lines

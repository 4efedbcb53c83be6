"""A model that is replaced repeatedly under load."""

import itertools
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import grpc
from safetensors.torch import load_file, save_file

from classwire import Classification, Client
from classwire_server.config.server_config import EMBEDDED_FOLDER
from tests.admin.operator import Operator, refusal

from .callers import Ledger, start
from .kills import SERVING, Health
from .known import Known
from .servers import inside
from .trial import Plan, Report, Trial

SWAPS = 20
ANSWERS_BETWEEN = 200


class KnownOfAll(Known):
    """Texts with known scores of several models, by fingerprint."""

    def __init__(self, models: Mapping[str, Known]) -> None:
        self._models = models
        self.seen: set[str] = set()

    def text(self, number: int) -> str:
        """Return the text of a number, the same for all models."""
        return next(iter(self._models.values())).text(number)

    def is_right(self, number: int, answer: Classification) -> bool:
        """Return whether the scores are those of the model that the answer names."""
        self.seen.add(answer.model.fingerprint)
        known = self._models.get(answer.model.fingerprint)
        return known is not None and known.is_right(number, answer)


def run(plan: Plan) -> Report:
    """Swap two models repeatedly, then offer a broken checkpoint."""
    report = Report()
    swaps = 2 if plan.is_short else SWAPS
    folders = (EMBEDDED_FOLDER, _negated(plan.work / "negated"))
    broken = shutil.copytree(EMBEDDED_FOLDER, plan.work / "broken")
    (broken / "model.safetensors").write_bytes(b"")
    with (
        inside(plan, admin_port=0, model=(f"m={EMBEDDED_FOLDER}",)) as server,
        grpc.insecure_channel(server.admin_target) as channel,
        Health(server.target) as health,
        ExitStack() as ends,
    ):
        operator = Operator(channel, timeout_s=600.0)
        models = {}
        for folder in reversed(folders):
            fingerprint = operator.reload("m", folder).fingerprint
            models[fingerprint] = Known.ask(server.target, 20 if plan.is_short else 500)
        known = KnownOfAll(models)
        ledger = Ledger(known)
        start(ends, server.target, ledger, retry=False, unary=2, batches=1)
        start(ends, server.target, ledger, streams=2)
        answers = 10 if plan.is_short else ANSWERS_BETWEEN
        named = 0
        for number, folder in enumerate(itertools.islice(itertools.cycle(folders[::-1]), swaps)):
            assert ledger.wait_for_answers(answers), "no answers"
            fingerprint = operator.reload("m", folder).fingerprint
            with Client(server.target, retry=False) as client:
                named += client.classify(known.text(0)).model.fingerprint == fingerprint
            plan.say(f"swapped {number + 1} times")
        rejected = _is_rejected(operator, broken)
        with Client(server.target, retry=False) as client:
            stayed = client.classify(known.text(0)).model.fingerprint == fingerprint
        assert ledger.wait_for_answers(answers), "no answers"
        statuses = list(health.statuses)
    report.add(
        "reloads after which the new model answers the next call", str(swaps), named, named == swaps
    )
    report.add("models that answered", "2", len(known.seen), len(known.seen) == 2)
    report.add("the server rejects a broken checkpoint and keeps the old model", "yes",
               "yes" if rejected and stayed else "no", rejected and stayed)  # fmt: skip
    changes = len(statuses) - 1
    report.add("times the server was not ready", "0", changes, statuses == [SERVING])
    ledger.report(report, "callers (unary and batches without retries, streams)")
    return report


def _negated(folder: Path) -> Path:
    """Write the embedded checkpoint with the opposite weights of its last layer."""
    shutil.copytree(EMBEDDED_FOLDER, folder)
    weights = load_file(folder / "model.safetensors")
    weights["classifier.weight"] = -weights["classifier.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _is_rejected(operator: Operator, folder: Path) -> bool:
    try:
        operator.reload("m", folder)
    except grpc.RpcError as error:
        return refusal(error)[:2] == ("FAILED_PRECONDITION", "BAD_CHECKPOINT")
    return False


SWAPS_TRIAL = Trial(
    "swaps",
    "One model is replaced by another and back, repeatedly, under unary calls and batches without "
    "retries, and under streams. Then a broken checkpoint is offered.",
    run,
)

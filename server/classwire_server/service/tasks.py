"""What a checkpoint is made for, and which calls it cannot serve."""

from collections.abc import Sequence
from typing import NamedTuple

from classwire.contract.reasons import Reason
from classwire_server.errors import RequestError
from classwire_server.registry.registry import ServedModel
from classwire_server.tokenization import PairTemplate


class EntailmentLabels(NamedTuple):
    """The ids of the labels of natural language inference; `contradiction` may be missing."""

    entailment: int
    contradiction: int | None

    @classmethod
    def of(cls, labels: Sequence[str]) -> "EntailmentLabels | None":
        """Find them by their names. None without an entailment label.

        Of two labels the other one is the contradiction, as "not_entailment".
        """
        entailment = _first(labels, "entail")
        if entailment is None:
            return None
        contradiction = _first(labels, "contradict")
        if contradiction is None and len(labels) == 2:
            contradiction = 1 - entailment
        return cls(entailment, contradiction)


def _first(labels: Sequence[str], beginning: str) -> int | None:
    begins = (number for number, label in enumerate(labels) if label.lower().startswith(beginning))
    return next(begins, None)


def tasks_of(model: ServedModel) -> list[str]:
    """The values of `Model.tasks`."""
    labels = model.checkpoint.labels
    has_pairs = model.tokenization.pair_template is not None
    tasks = {
        "classify": True,
        "rank": has_pairs and len(labels) == 1,
        "zero_shot_classify": has_pairs and EntailmentLabels.of(labels) is not None,
    }
    return [task for task, is_made_for_it in tasks.items() if is_made_for_it]


def pairs_of(model: ServedModel) -> PairTemplate:
    """How the model's tokenizer makes pairs.

    Raises RequestError UNSUITABLE_MODEL if it puts no special token between their texts.
    """
    template = model.tokenization.pair_template
    if template is None:
        raise unsuitable("its tokenizer puts no special token between the texts of a pair")
    return template


def unsuitable(why: str) -> RequestError:
    """The error of a call that the model cannot serve."""
    return RequestError(
        Reason.UNSUITABLE_MODEL, f"the model cannot serve this call: {why}", field="model"
    )

"""The layout of a checkpoint's engine: the fastest whose scores are those of direct use."""

import logging
from collections.abc import Callable, Set
from dataclasses import dataclass

from transformers import PreTrainedModel

from classwire_server.engine import Deviation, Precision
from classwire_server.engine.forward.grouped import GroupedEngine
from classwire_server.engine.forward.isolated import IsolatedEngine, keeps_state
from classwire_server.engine.forward.packed import PackedEngine, PackedModel
from classwire_server.engine.forward.precision import convert
from classwire_server.errors import CheckpointError, telling_line

from .parity import ParityCheck

log = logging.getLogger(__name__)

TorchEngine = PackedEngine | GroupedEngine | IsolatedEngine
_Constructor = Callable[[PreTrainedModel, Set[str], str, Precision], TorchEngine]


def _packed(
    model: PreTrainedModel, input_names: Set[str], device: str, precision: Precision
) -> PackedEngine:
    return PackedEngine(PackedModel(model, input_names), device, precision)


_ISOLATED = "one text at a time"
_LAYOUTS: dict[str, _Constructor] = {
    "packed": _packed,
    "grouped by length": GroupedEngine,
    _ISOLATED: IsolatedEngine,
}
"""All layouts, the fastest first."""


@dataclass(frozen=True)
class Build:
    """How engines of one checkpoint are built on one device."""

    layout: str
    input_names: Set[str]
    device: str

    def engine(self, model: PreTrainedModel, precision: Precision) -> TorchEngine:
        """Build an engine. Converts the float32 model to the precision in place.

        Raises what the model's code raises in this layout.
        """
        if precision is not Precision.FLOAT32:  # other precisions convert copies of plain weights
            convert(model, precision)
        return _LAYOUTS[self.layout](model, self.input_names, self.device, precision)


@dataclass(frozen=True, eq=False)
class ChosenLayout:
    """The chosen layout, its float32 engine, and the reason in words for people."""

    build: Build
    engine: TorchEngine
    deviation: Deviation
    why: str


def choose_layout(
    model: PreTrainedModel, device: str, lanes: int, parity_check: ParityCheck
) -> ChosenLayout:
    """Choose the fastest layout whose scores are those of direct use.

    Raises CheckpointError when there is none.
    """
    checkpoint = parity_check.checkpoint
    problems: list[str] = []
    layouts = list(_LAYOUTS)
    if keeps_state(model):
        problems.append("its config names a feature that changes the model while it runs")
    if parity_check.draws_random_numbers:
        problems.append("it draws random numbers, which lanes would share")
    if problems:
        layouts = [_ISOLATED]
    for layout in layouts:
        build = Build(layout, checkpoint.input_names, device)
        engine: TorchEngine | None = None
        try:
            engine = build.engine(model, Precision.FLOAT32)
            deviation = parity_check.deviation_in_any_order(engine, lanes)
            problem = f"scores would move by {deviation.max_score_difference:.1e}"
        except Exception as error:  # a model's code may raise anything
            problem = telling_line(error)
        else:
            if deviation.max_score_difference <= parity_check.tolerance:
                same = f"scores within {deviation.max_score_difference:.1e} of direct use"
                why = "; ".join((same, *problems))
                if problems:
                    log.info("%s: %s: %s", checkpoint.name, layout, why)
                return ChosenLayout(build, engine, deviation, why)
        problems.append(f"not {layout} ({problem})")
        unpack(engine)
    raise CheckpointError(
        f"{checkpoint.location}: its scores are not those of direct use: {'; '.join(problems)}"
    )


def unpack(engine: TorchEngine | None) -> None:
    """Undo the changes that packing made to an engine's model."""
    if isinstance(engine, PackedEngine):
        engine.model.unpack()

"""CUDA graphs for the small batches of an engine, if its scores stay as close."""

from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Choice, Deviation
from classwire_server.engine.forward.graphs import GraphedEngine, with_graphs
from classwire_server.engine.forward.packed import PackedEngine
from classwire_server.engine.forward.runner import OneByOne, Runner
from classwire_server.errors import telling_line

from .calibration import is_as_close
from .parity import ParityCheck


def graphed(
    engine: Runner, plain: Deviation, parity_check: ParityCheck, config: ServerConfig
) -> tuple[GraphedEngine | None, Choice]:
    """The engine of a CUDA device with graphs; None, with the reason, where they don't work.

    `plain` is the deviation of the engine without them.
    """
    if not config.cuda_graphs:
        return None, Choice("CUDA graphs", "no", "set by --no-cuda-graphs")
    if not isinstance(engine, PackedEngine):
        return None, Choice("CUDA graphs", "no", "only models that can be packed have them")
    try:
        found = with_graphs(engine, parity_check.checkpoint.max_tokens)
        runners: tuple[Runner, ...] = (found, OneByOne(found))  # of many texts and of one
        for runner in runners:
            deviation = parity_check.deviation(runner)
            if not is_as_close(deviation, plain, config):
                raise ValueError(f"scores would move by {deviation.max_score_difference:.1e}")
    except Exception as error:  # of the model's code, torch or the driver: the engine goes on
        return None, Choice("CUDA graphs", "no", telling_line(error))
    sizes = f"batches of up to {found.largest_tokens} tokens"
    return found, Choice("CUDA graphs", sizes, "launching kernels one by one takes longer")

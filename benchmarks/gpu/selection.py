"""A part: what a worker chooses on the device, and why."""

import sys
import tempfile
import time
from pathlib import Path

from benchmarks import checkpoints
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine.selection.choice import select

from .parts import emit, redirect
from .plan import PLANS


def main() -> None:
    """Select an engine as a worker does. Arguments: plan and device."""
    redirect()
    plan, device = PLANS[sys.argv[1]], sys.argv[2]
    with tempfile.TemporaryDirectory() as folder:
        checkpoints.save(plan.shape, Path(folder))
        config = ServerConfig(model=(f"m={folder}",), device=device, precision=plan.precision.value)
        started_s = time.perf_counter()
        selection = select(config.sources[0], config, device)
    emit("selected", seconds=time.perf_counter() - started_s)
    for choice in selection.choices:
        emit("choice", name=choice.what, value=choice.value, why=choice.why)
    profile = selection.profile
    emit("profile", tokens=profile.tokens, seconds=profile.seconds, best=profile.best_tokens)


if __name__ == "__main__":
    main()

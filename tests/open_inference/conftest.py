"""A server with three tiny models, one for each activation."""

from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from classwire_server.config.server_config import ServerConfig
from classwire_server.server import Server
from tests.conftest import launch_forked
from tests.contract.conftest import _no_text_in_logs, bert, channel, fake  # noqa: F401
from tests.open_inference.wire import Stub


@pytest.fixture(scope="session")
def server(checkpoint: Callable[..., Path], few_texts: str) -> Iterator[Server]:
    """A real server whose scores do not depend on the other texts of a batch."""
    multi = checkpoint(
        "roberta", labels=("good", "bad", "Straße"), problem_type="multi_label_classification"
    )
    config = ServerConfig(
        port=0,
        model=(
            f"tiny={checkpoint('bert')}",
            f"multi={multi}",
            f"value={checkpoint('bert', labels=('value',), problem_type='regression')}",
        ),
        max_texts_per_call=16,
        deterministic=True,
        batch_tokens=512,
        calibration=few_texts,
    )
    with Server(config, launch_forked) as server:
        yield server


@pytest.fixture(scope="session")
def stub(channel: grpc.Channel) -> Stub:  # noqa: F811
    """The RPCs of the shared server."""
    return Stub(channel)

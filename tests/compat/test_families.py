"""A server gives the scores of direct use for one model type of each family."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from classwire_server.config.server_config import ServerConfig
from classwire_server.server import Server
from tests.compat.checkpoints import made
from tests.compat.findings import RIGHT, finding
from tests.compat.wire import observe
from tests.conftest import launch_forked

FAMILIES = (
    "bert",
    "roberta",
    "distilbert",
    "modernbert",
    "albert",
    "mpnet",
    "deberta-v2",
    "xlnet",
    "fnet",
    "gpt2",
    "llama",
    "qwen2",
    "bloom",
    "bart",
    "t5",
    "gemma3",
    "canine",
)
"""Encoders, relative attention, decoders, no position, encoder-decoders, a composite config,
characters.
"""

Find = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def find(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Find]:
    """Serves a type in a shared server, and returns what is found for it.

    Another process makes checkpoints and truth, in the order of FAMILIES.
    """
    folder = tmp_path_factory.mktemp("families")
    config = ServerConfig(port=0, admin_port=0, cache_mb=0, batch_tokens=512, offline=True)
    coming = made(folder, FAMILIES)
    truths: dict[str, dict[str, Any]] = {}

    @functools.cache
    def found(model_type: str) -> dict[str, Any]:
        while model_type not in truths:
            made_type, truth = next(coming)
            truths[made_type] = truth
        truth = truths[model_type]
        where = str(folder / model_type)
        observed = observe(
            server.target, server.admin_target, model_type, where, truth.get("texts", ())
        )
        return finding(model_type, truth, observed)

    with Server(config, launch_forked) as server:
        yield found
    coming.close()


@pytest.mark.parametrize("model_type", FAMILIES)
def test_scores_are_those_of_direct_use(find: Find, model_type: str) -> None:
    """Unary, batch and stream give the scores of direct use to 1e-5, for texts of several lengths,
    with special tokens written out, at the token limit, and for a pair.
    """
    found = find(model_type)
    assert found["verdict"] == RIGHT, found["reason"]

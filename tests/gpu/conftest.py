"""Tests that need a CUDA device, and their engines. `make gpu` runs them."""

from pathlib import Path

import pytest
import torch


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip the tests marked gpu on a machine without a CUDA device."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device; make gpu runs it there")


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of four layers, with heads of 64 values as in BERT-base."""
    from tests.checkpoints import make_checkpoint

    return make_checkpoint(
        "bert",
        tmp_path_factory.mktemp("bert"),
        hidden_size=512,
        num_hidden_layers=4,
        num_attention_heads=8,
        intermediate_size=2_048,
    )

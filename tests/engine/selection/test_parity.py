"""The check that every engine has to pass: its truth is direct use of transformers."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers

from classwire_server.checkpoint.loading import LoadedCheckpoint, load_checkpoint
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine.forward.grouped import GroupedEngine
from classwire_server.engine.forward.isolated import IsolatedEngine, keeps_state
from classwire_server.engine.selection.direct_use import DirectUse
from classwire_server.engine.selection.layouts import choose_layout
from classwire_server.engine.selection.parity import ParityCheck, check_by_direct_use
from classwire_server.errors import CheckpointError

Load = Callable[..., LoadedCheckpoint]


@pytest.fixture
def load(checkpoint: Callable[..., Path]) -> Load:
    """Loads a tiny checkpoint: `load("bert", hidden_size=64)`."""

    def load(architecture: str, max_tokens: int = 0, **options: Any) -> LoadedCheckpoint:
        folder = checkpoint(architecture, **options)
        config = ServerConfig(model=(f"tiny={folder}",), max_tokens=max_tokens)
        return load_checkpoint(config.sources[0], config)

    return load


def _check(loaded: LoadedCheckpoint) -> ParityCheck:
    return check_by_direct_use(loaded.checkpoint, DirectUse(loaded.model, loaded.tokenizer))


def test_an_input_that_the_tokenizer_does_not_return(load: Load) -> None:
    """GPT-2 embeds token type ids as words: an engine that feeds zeros is far from direct use."""
    loaded = load("gpt2")
    check = _check(loaded)
    assert "token_type_ids" not in check.checkpoint.input_names
    right = GroupedEngine(loaded.model, check.checkpoint.input_names, "cpu")
    wrong = GroupedEngine(loaded.model, {"attention_mask", "token_type_ids"}, "cpu")
    assert check.deviation(right).max_score_difference <= check.tolerance
    with pytest.raises(ValueError, match="logits would move"):
        check.deviation(wrong)


def test_an_input_that_the_engine_leaves_out(load: Load) -> None:
    """BERT's tokenizer returns token type ids: an engine without them is far off for pairs."""
    loaded = load("bert")
    check = _check(loaded)
    assert check.checkpoint.takes_pairs
    wrong = GroupedEngine(loaded.model, {"attention_mask"}, "cpu")
    with pytest.raises(ValueError, match="logits would move"):
        check.deviation(wrong)


@pytest.mark.parametrize("architecture", ["phi3", "big-bird"])
def test_a_model_that_changes_while_it_runs(load: Load, architecture: str) -> None:
    """A fresh copy for each text has the scores of direct use, in any order and on any lane."""
    loaded = load(architecture)
    check = _check(loaded)
    chosen = choose_layout(loaded.model, "cpu", 2, check)
    assert isinstance(chosen.engine, IsolatedEngine)
    assert "changes the model while it runs" in chosen.why
    assert chosen.deviation.max_score_difference <= check.tolerance


def test_an_order_in_which_a_model_deviates(load: Load) -> None:
    """The check runs short texts after long ones: a shared BigBird stays dense and deviates."""
    loaded = load("big-bird")
    check = _check(loaded)
    shared = GroupedEngine(loaded.model, check.checkpoint.input_names, "cpu")
    with pytest.raises(ValueError, match="logits would move"):
        check.deviation_in_any_order(shared, 1)


def test_a_model_that_takes_no_pairs(load: Load) -> None:
    """A model with one token type, and a tokenizer that numbers the texts of a pair, takes none."""
    check = _check(load("bert", type_vocab_size=1))
    assert not check.checkpoint.takes_pairs
    assert check.texts.token_type_ids.max() == 0


def test_a_limit_that_is_tried(load: Load) -> None:
    """If a text of the length that the files promise fails, the longest that works is the limit."""
    loaded = load("bert", max_position_embeddings=300)
    wrong = loaded._replace(checkpoint=_with_limit(loaded, 302))
    assert _check(wrong).checkpoint.max_tokens == 300


def _with_limit(loaded: LoadedCheckpoint, max_tokens: int) -> Any:
    import dataclasses

    return dataclasses.replace(loaded.checkpoint, max_tokens=max_tokens)


def test_a_model_that_fails_in_direct_use(load: Load) -> None:
    """A checkpoint that direct use cannot run is rejected with the reason of transformers."""
    loaded = load("bert")
    loaded.model.get_input_embeddings().weight.data = torch.zeros(1, 32)
    with pytest.raises(CheckpointError, match="fails in direct use too: index out of range"):
        _check(loaded)


def test_random_scores(load: Load) -> None:
    """A model whose scores change from call to call is rejected by name, though it is in eval."""

    class Dice(torch.nn.Dropout):
        def forward(self, states: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.dropout(states, 0.5)

    loaded = load("bert")
    model: Any = loaded.model
    model.dropout = Dice()
    with pytest.raises(CheckpointError, match="scores change from call to call"):
        _check(loaded)


def test_scores_that_hide_a_difference(load: Load) -> None:
    """A decoder is not packed as if each token saw all others, though its scores are all near 0 and
    stay the same.
    """
    loaded = load("bert", is_decoder=True, problem_type="multi_label_classification")
    model: Any = loaded.model
    model.classifier.bias.data -= 30.0
    chosen = choose_layout(model, "cpu", 1, _check(loaded))
    assert type(chosen.engine) is GroupedEngine
    assert "not packed (logits would move by" in chosen.why


def test_state_named_inside_a_composite_config() -> None:
    """A feature that changes the model is found in the config of an encoder, too."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "head_dim": 8}
    rope = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}
    plain = transformers.T5GemmaConfig(encoder={**sizes}, decoder={**sizes})
    dynamic = transformers.T5GemmaConfig(
        encoder={**sizes, "rope_parameters": rope}, decoder={**sizes}
    )
    assert not keeps_state(SimpleNamespace(config=plain))  # type: ignore[arg-type]
    assert keeps_state(SimpleNamespace(config=dynamic))  # type: ignore[arg-type]

"""Texts grouped by length: which texts share a pass, and what the model is fed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from classwire_server.engine.forward.grouped import GroupedEngine
from classwire_server.engine.forward.isolated import fresh_copy
from classwire_server.engine.packing import pack
from classwire_server.tokenization import Encoding, Text

END = 2


def _encodings(*texts: list[int]) -> list[Encoding]:
    return [Encoding(ids, [0] * len(ids), 0, Text(""), None) for ids in texts]


def _model(folder: Path) -> Any:
    return transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()


def test_texts_with_different_numbers_of_end_tokens(checkpoint: Callable[..., Path]) -> None:
    """BART rejects a batch with different numbers of end tokens; such texts have the logits that
    they have alone.
    """
    engine = GroupedEngine(_model(checkpoint("bart")), {"attention_mask"}, "cpu")
    texts = [[0, 7, END, 9, END], [0, 7, 8, 9, END], [0, END, END, 9, END], [0, 9, 8, 7, END]]
    packed = pack(_encodings(*texts))
    together = packed.unsorted(engine.run(packed))
    alone = [engine.run(pack(_encodings(text)))[0] for text in texts]
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("names", [set(), {"attention_mask"}, {"token_type_ids"}])
def test_the_model_gets_the_inputs_named(checkpoint: Callable[..., Path], names: set[str]) -> None:
    """The engine feeds the ids and the inputs that it is given the names of, and no other."""
    model = _model(checkpoint("bert"))
    seen: list[set[str]] = []
    model.register_forward_pre_hook(
        lambda module, args, fed: seen.append(set(fed)), with_kwargs=True
    )
    GroupedEngine(model, names, "cpu").run(pack(_encodings([2, 7, 3])))
    assert seen == [{"input_ids"} | names]


def test_a_fresh_copy_shares_the_weights(checkpoint: Callable[..., Path]) -> None:
    """A copy has the weights themselves, and buffers of its own."""
    model = _model(checkpoint("phi3"))
    copied = fresh_copy(model)
    pairs = zip(model.parameters(), copied.parameters(), strict=True)
    assert all(original is shared for original, shared in pairs)
    for original, own in zip(model.buffers(), copied.buffers(), strict=True):
        assert torch.equal(original, own)
        assert original.data_ptr() != own.data_ptr()

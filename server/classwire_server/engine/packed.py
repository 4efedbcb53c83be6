"""All texts of a batch in one row of tokens, without padding.

The model's own modules run on the row; three things keep the texts apart. Attention is a function
registered with transformers that runs inside each text; position ids restart with each text; and
the hidden states are cut down to what the head reads (each text's first token, or its mean) before
the head sees them, so that the head runs on a batch of texts as ever. Same idea: unpadding in
ModernBERT (Warner et al. 2024, arXiv:2412.13663, section 2.1.2).
"""

from collections.abc import Sequence
from inspect import signature
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from ..checkpoint import first_position
from ..tokenization import Encoding
from . import EngineTraits, Execution, Layout, Precision

ATTENTION = "classwire_packed"


def attend_within_texts(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    text_bounds: Sequence[int],
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of each token to the tokens of its own text.

    Query, key and value are (1, heads, tokens, size), the result is (1, tokens, heads, size). Text
    i lies at text_bounds[i]:text_bounds[i + 1]. `sliding_window` is one more than the largest
    distance at which tokens see each other, as ModernBERT passes it.
    """
    output = torch.empty_like(query)  # (1, heads, tokens, size)
    for start, end in pairwise(text_bounds):
        mask = None
        if sliding_window is not None and end - start > sliding_window:
            places = torch.arange(end - start, device=query.device)
            mask = (places[:, None] - places[None, :]).abs() < sliding_window  # (length, length)
        output[:, :, start:end] = scaled_dot_product_attention(
            query[:, :, start:end],
            key[:, :, start:end],
            value[:, :, start:end],
            attn_mask=mask,
            scale=scaling,
        )
    return output.transpose(1, 2), None


AttentionInterface.register(ATTENTION, attend_within_texts)


class PackedEngine:
    """Runs encoder models on packed rows; one thread at a time.

    `model` is moved to the device and changed to packed attention. Raises ValueError when the
    model's class does not take position ids or a registered attention function; whether its numbers
    are right is for the self-check to say.
    """

    def __init__(self, model: PreTrainedModel, device: str) -> None:
        self._own_attention = model.config._attn_implementation
        model.set_attn_implementation(ATTENTION)
        if model.config._attn_implementation != ATTENTION:
            raise ValueError("its attention cannot be replaced")
        self.traits = EngineTraits(device, Precision.FLOAT32, Execution.PLAIN, Layout.PACKED)
        self._model = model.to(device)  # type: ignore[arg-type]
        self._first_position = first_position(model)
        self._padding_id: int | None = model.config.pad_token_id if self._first_position else None
        self._takes_token_types = "token_type_ids" in signature(model.forward).parameters
        self._pools_mean = getattr(model.config, "classifier_pooling", "cls") == "mean"
        self._bounds: list[int] = []
        base = model.base_model
        pooler = getattr(base, "pooler", None)
        if pooler is not None:
            self._hooks = [pooler.register_forward_pre_hook(self._cut_pooler_input)]
        else:
            self._hooks = [base.register_forward_hook(self._cut_hidden_states)]

    @torch.inference_mode()
    def infer(self, encodings: Sequence[Encoding]) -> np.ndarray:
        """Logits of the texts: float32, (texts, labels)."""
        ids = [id_ for encoding in encodings for id_ in encoding.ids]
        self._bounds = list(accumulate((len(encoding.ids) for encoding in encodings), initial=0))
        inputs = {
            "input_ids": self._row(ids),
            "position_ids": self._row([p for e in encodings for p in self._positions(e)]),
        }
        if self._takes_token_types:
            inputs["token_type_ids"] = self._row([t for e in encodings for t in e.token_type_ids])
        logits: torch.Tensor = self._model(**inputs, text_bounds=self._bounds).logits
        return logits.float().cpu().numpy()  # (texts, labels)

    def close(self) -> None:
        """Give the model back as it was."""
        for hook in self._hooks:
            hook.remove()
        self._model.set_attn_implementation(self._own_attention)

    def _row(self, values: list[int]) -> torch.Tensor:
        return torch.tensor([values], device=self.traits.device)  # (1, tokens)

    def _positions(self, encoding: Encoding) -> Sequence[int]:
        """Position ids of one text, which restart with it."""
        first = self._first_position
        if self._padding_id is None or self._padding_id not in encoding.ids:
            return range(first, first + len(encoding.ids))
        # RoBERTa's kind does not count a padding token that stands in the text itself.
        kept = [id_ != self._padding_id for id_ in encoding.ids]
        counts = accumulate(kept)
        return [first - 1 + count * keep for count, keep in zip(counts, kept, strict=True)]

    def _cut(self, hidden: torch.Tensor) -> torch.Tensor:
        """(1, tokens, hidden) -> (texts, 1, hidden): all that the head reads of each text."""
        if self._pools_mean:
            means = [hidden[0, a:b].mean(dim=0) for a, b in pairwise(self._bounds)]
            return torch.stack(means)[:, None]
        return hidden[0, self._bounds[:-1]][:, None]

    def _cut_pooler_input(self, module: Any, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
        return (self._cut(args[0]),)

    def _cut_hidden_states(self, module: Any, args: Any, output: Any) -> Any:
        output.last_hidden_state = self._cut(output.last_hidden_state)
        return output

"""All texts of a batch in one row of tokens, without padding.

The model's own modules run on the row. Three things keep the texts apart. Attention is a function
registered with transformers that stays inside each text. Position ids restart with each text. And
the hidden states are reduced to what the head reads, each text's first token or its mean, so that
the head runs on a batch of texts as usual. The idea is that of unpadding in ModernBERT (Warner et
al. 2024, arXiv:2412.13663, section 2.1.2).
"""

import threading
from collections.abc import Callable, Set
from typing import Any

import numpy as np
import torch
import transformers
from transformers import PreTrainedModel, masking_utils

from classwire_server.checkpoint.token_limit import first_position
from classwire_server.engine import EngineTraits, Execution, Layout, Precision
from classwire_server.engine.packing import PackedTexts

from .attention import ATTENTION, TextBounds, mean_within_texts

Forward = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""The type of PackedModel.forward and of a compiled model."""


class PackedModel(torch.nn.Module):
    """A classifier whose forward pass takes packed rows. Thread-safe.

    `input_names` are those of the checkpoint. `pools_mean` says whether the head reads the mean of
    each text instead of its first token. Changes `model` to packed attention until `unpack`.
    Raises ValueError when the model's class takes no registered attention function. The parity
    check decides whether the scores are right.
    """

    def __init__(self, model: PreTrainedModel, input_names: Set[str]) -> None:
        super().__init__()
        self._own_attention = model.config._attn_implementation
        model.set_attn_implementation(ATTENTION)
        if model.config._attn_implementation != ATTENTION:
            raise ValueError(_why_not_replaced())
        self.model = model
        self.first_position: int = first_position(model)
        self.padding_id: int | None = model.config.pad_token_id if self.first_position else None
        self._feeds_token_types = "token_type_ids" in input_names
        self.pools_mean = getattr(model.config, "classifier_pooling", "cls") == "mean"
        self._row = threading.local()  # the bounds of each thread's current row
        base = model.base_model
        pooler = getattr(base, "pooler", None)
        if pooler is not None:
            self._hook = pooler.register_forward_pre_hook(self._reduce_pooler_input)
        else:
            self._hook = base.register_forward_hook(self._reduce_hidden_states)

    def forward(
        self,
        ids: torch.Tensor,
        token_type_ids: torch.Tensor,
        position_ids: torch.Tensor,
        bounds: torch.Tensor,
    ) -> torch.Tensor:
        """Logits of the texts, (texts, labels), in the model's dtype.

        The first three are int64, (1, tokens), on the device. `bounds` is int64, (texts + 1,), on
        the CPU: text i is at bounds[i]:bounds[i + 1].
        """
        # A copy that does not block: other lanes' passes may be queued on the device.
        device_bounds = bounds.to(torch.int32).to(ids.device, non_blocking=True)  # (texts + 1,)
        return self.classify(ids, token_type_ids, position_ids, TextBounds(bounds, device_bounds))

    def classify(
        self,
        ids: torch.Tensor,
        token_type_ids: torch.Tensor,
        position_ids: torch.Tensor,
        text_bounds: TextBounds,
    ) -> torch.Tensor:
        """As `forward`, with bounds that are on the device already.

        Tokens after the last bound belong to no text. With FlashAttention and a head that reads
        first tokens, the pass reads no value on the CPU but the longest length.
        """
        # A compiled model may get an empty text at the end, which starts after the last token.
        self._row.starts = text_bounds.device[:-1].clamp(max=ids.shape[1] - 1)  # (texts,)
        self._row.bounds = text_bounds.cpu
        inputs = {"input_ids": ids, "position_ids": position_ids}
        if self._feeds_token_types:
            inputs["token_type_ids"] = token_type_ids
        logits: torch.Tensor = self.model(**inputs, text_bounds=text_bounds).logits
        return logits  # (texts, labels)

    def unpack(self) -> PreTrainedModel:
        """Undo the changes to the model, and return it."""
        self._hook.remove()
        self.model.set_attn_implementation(self._own_attention)
        return self.model

    def _reduce(self, hidden: torch.Tensor) -> torch.Tensor:
        """(1, tokens, hidden) -> (texts, 1, hidden): what the head reads of each text."""
        if self.pools_mean:
            read: torch.Tensor = mean_within_texts(hidden[0], self._row.bounds)  # (texts, hidden)
        else:
            read = hidden[0].index_select(0, self._row.starts)  # (texts, hidden)
        return read[:, None]

    def _reduce_pooler_input(
        self, module: Any, args: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor]:
        return (self._reduce(args[0]),)

    def _reduce_hidden_states(self, module: Any, args: Any, output: Any) -> Any:
        output.last_hidden_state = self._reduce(output.last_hidden_state)
        return output


def _why_not_replaced() -> str:
    """Why a model keeps its own attention."""
    if hasattr(masking_utils, "create_bidirectional_mask"):
        return "its attention cannot be replaced"
    version = transformers.__version__
    return f"encoders take another attention from transformers 5.0 on; this is {version}"


class PackedEngine:
    """Runs a packed model. Thread-safe, one thread for each lane.

    `model` is on the device. `forward` is the compiled forward pass, None for the model's own.
    """

    def __init__(
        self,
        model: PackedModel,
        device: str,
        precision: Precision = Precision.FLOAT32,
        forward: Forward | None = None,
    ) -> None:
        execution = Execution.PLAIN if forward is None else Execution.COMPILED
        self.traits = EngineTraits(device, precision, execution, Layout.PACKED)
        self.model = model
        self._forward = forward or model

    def with_forward(self, forward: Forward) -> "PackedEngine":
        """An engine that runs the same model by a compiled forward pass."""
        return PackedEngine(self.model, self.traits.device, self.traits.precision, forward)

    @torch.inference_mode()
    def run(self, texts: PackedTexts) -> np.ndarray:
        """Logits of the texts in packed order: float32, (texts, labels)."""
        logits: torch.Tensor = self._forward(
            self._on_device(texts.ids),
            self._on_device(texts.token_type_ids),
            self._on_device(self.position_ids(texts)),
            torch.from_numpy(texts.bounds),
        )
        return logits.float().cpu().numpy()  # (texts, labels)

    def _on_device(self, values: np.ndarray) -> torch.Tensor:
        row = torch.from_numpy(values)[None]  # (1, tokens)
        return row.to(self.traits.device, non_blocking=True)

    def position_ids(self, texts: PackedTexts) -> np.ndarray:
        """Position ids, (tokens,), which restart with each text.

        RoBERTa's rule for padding tokens inside a text is that of transformers 5.23.0,
        models/roberta/modeling_roberta.py, `create_position_ids_from_input_ids`.
        """
        starts = np.repeat(texts.bounds[:-1], texts.lengths)  # (tokens,)
        if self.model.padding_id is None or self.model.padding_id not in texts.ids:
            positions: np.ndarray = np.arange(len(texts.ids)) - starts + self.model.first_position
            return positions
        # RoBERTa does not count a padding token that the text itself contains.
        kept = texts.ids != self.model.padding_id  # (tokens,)
        counts = np.concatenate(([0], np.cumsum(kept)))  # (tokens + 1,)
        inside = counts[1:] - counts[starts]  # (tokens,), 1 at the first kept token of each text
        positions = self.model.first_position - 1 + inside * kept
        return positions

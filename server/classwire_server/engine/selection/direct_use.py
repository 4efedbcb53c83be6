"""A checkpoint as a user of transformers calls it: the truth that engines are compared with."""

import inspect

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from classwire_server.engine.forward.isolated import fresh_copy
from classwire_server.errors import telling_line
from classwire_server.tokenization import Text

_SPECIAL_TOKENS = 8
"""Special tokens of the text that consists of them: T5's tokenizer has over 100."""


class DirectUse:
    """`model(**tokenizer(text, return_tensors="pt"))`, one text at a time, on a fresh copy each.

    Nothing of Classwire is between the text and the logits. `model` and `tokenizer` are as
    transformers loads them, the model on its device. `special_tokens` are some of the tokenizer's,
    as a text.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._tokenizer.truncation_side = "right"
        self._parameters = inspect.signature(model.forward).parameters

        self.special_tokens = " ".join(tokenizer.all_special_tokens[:_SPECIAL_TOKENS])

    def attempt(self, text: Text, max_tokens: int) -> np.ndarray | str:
        """Logits of a text or pair, cut at `max_tokens`: float32, (labels,).

        A text that fails has the reason in one line instead.
        """
        try:
            return self._logits(text, max_tokens)
        except Exception as error:  # a model's code may raise anything
            return telling_line(error)

    def random_states(self) -> tuple[torch.Tensor, ...]:
        """The states of the generators that the model may draw from: the CPU's, its device's."""
        states = [torch.get_rng_state()]
        if self._model.device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self._model.device))
        return tuple(states)

    @torch.inference_mode()
    def _logits(self, text: Text, max_tokens: int) -> np.ndarray:
        inputs = self._tokenizer(
            text.text, text.text_pair, truncation=True, max_length=max_tokens, return_tensors="pt"
        )
        taken = {
            name: values.to(self._model.device)
            for name, values in inputs.items()
            if self._takes(name)
        }
        logits: torch.Tensor = fresh_copy(self._model)(**taken).logits  # (1, labels)
        return logits[0].float().cpu().numpy()

    def _takes(self, name: str) -> bool:
        """Whether the model's `forward` accepts an input of this name."""
        kinds = {parameter.kind for parameter in self._parameters.values()}
        return name in self._parameters or inspect.Parameter.VAR_KEYWORD in kinds

"""The answer of Tokenize: the tokens that the model would see."""

from itertools import chain

from classwire.v1 import classwire_pb2 as pb
from classwire_server.registry.limits import MAX_ANSWER_BYTES
from classwire_server.registry.registry import ServedModel
from classwire_server.tokenization import Encoding, Fit, OffsetUnit, Windows
from classwire_server.tokenization.fitting import too_many
from classwire_server.windows import WindowPlan

from .responses import model_ref, token, window_messages


def tokenize_response(
    model: ServedModel, encoding: Encoding | Windows, fit: Fit, unit: OffsetUnit
) -> pb.TokenizeResponse:
    """The tokens of a text, of all its windows if it is read in windows.

    Raises RequestError TOO_MANY_TOKENS if they do not fit into an answer.
    """
    encodings = encoding.encodings if isinstance(encoding, Windows) else [encoding]
    tokens = sum(len(each.ids) for each in encodings)
    response = pb.TokenizeResponse(
        tokens=map(token, chain.from_iterable(each.tokens(unit) for each in encodings)),
        attention_mask=[1] * tokens,
        truncated_tokens=sum(each.truncated_tokens for each in encodings),
        model=model_ref(model, None),
    )
    if isinstance(fit, WindowPlan):
        layout = encoding if isinstance(encoding, Windows) else Windows.of(encoding)
        response.windows.extend(window_messages(layout, unit))
        if response.ByteSize() > MAX_ANSWER_BYTES:
            message = f"the {tokens} tokens of the text's windows do not fit into an answer"
            raise too_many(message, "text", tokens=tokens, max_tokens=fit.tokens)
    return response

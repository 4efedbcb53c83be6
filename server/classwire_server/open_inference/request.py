"""ModelInferRequest -> what it asks for, checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from classwire.contract.reasons import Reason
from classwire.v1.classwire_pb2 import TextInput
from classwire_server.errors import RequestError
from classwire_server.scheduling.batch import Priority

from . import inference_pb2 as pb
from .parameters import bad, classes, priority, refuse_shared_memory, timeout_s
from .tensors import INPUTS, OUTPUTS, SCORES, TEXT, TEXT_PAIR, Tensor, elements

MAX_ID_BYTES = 1_024
"""Largest id of a request: a stream keeps those of its window."""


@dataclass(frozen=True)
class Output:
    """An output that is asked for; `classes` is how many are to stand in place of scores, or 0."""

    tensor: Tensor
    classes: int = 0


@dataclass(frozen=True)
class InferRequest:
    """What a request asks for; `timeout_s` counts from its arrival, math.inf for no limit."""

    inputs: list[TextInput]
    outputs: list[Output]
    priority: Priority
    timeout_s: float

    @classmethod
    def parse(cls, message: pb.ModelInferRequest, max_texts: int, default: Priority) -> Self:
        """Check a request for a model that takes so many texts.

        Raises RequestError, naming the field: BAD_OPTION for what no such request may say,
        BAD_ENCODING for tensors that are not what they are said to be, EMPTY_TEXT, TOO_MANY_ITEMS,
        BAD_ID.
        """
        if len(message.id.encode()) > MAX_ID_BYTES:
            raise bad("id", f"has more than {MAX_ID_BYTES} bytes", Reason.BAD_ID)
        return cls(
            _inputs(message, max_texts),
            _outputs(message.outputs),
            priority(message.parameters, default),
            timeout_s(message.parameters),
        )


def _inputs(message: pb.ModelInferRequest, max_texts: int) -> list[TextInput]:
    columns: dict[str, list[str]] = {}
    for place, tensor in enumerate(message.inputs):
        field = f"inputs[{place}]"
        if tensor.name not in INPUTS:
            raise bad(f"{field}.name", f"is none of {', '.join(INPUTS)}")
        if tensor.name in columns:
            raise bad(f"{field}.name", "is there twice")
        if tensor.datatype != INPUTS[tensor.name].datatype:
            raise bad(f"{field}.datatype", f"is not {INPUTS[tensor.name].datatype}")
        refuse_shared_memory(tensor.parameters, field)
        count = _count(tensor.shape, f"{field}.shape", max_texts)
        columns[tensor.name] = _texts(message, place, count)
    if TEXT.name not in columns:
        raise bad("inputs", f"lack {TEXT.name}", Reason.EMPTY_TEXT)
    texts = columns[TEXT.name]
    if TEXT_PAIR.name not in columns:
        return [TextInput(text=text) for text in texts]
    pairs = columns[TEXT_PAIR.name]
    if len(texts) != len(pairs):
        raise bad("inputs", f"hold {len(texts)} {TEXT.name}, and {len(pairs)} {TEXT_PAIR.name}")
    return [TextInput(text=a, text_pair=b) for a, b in zip(texts, pairs, strict=True)]


def _count(shape: Sequence[int], field: str, max_texts: int) -> int:
    """The number of texts of a shape [n] or [n,1]."""
    count, *rest = shape or (-1,)
    if count < 0 or rest not in ([], [1]):
        raise bad(field, "is neither [n] nor [n,1]")
    if count > max_texts:
        raise RequestError(
            Reason.TOO_MANY_ITEMS,
            f"{field} has {count} texts, and the limit is {max_texts}",
            field=field,
            metadata={"items": str(count), "max_items": str(max_texts)},
        )
    return count


def _texts(message: pb.ModelInferRequest, place: int, count: int) -> list[str]:
    """The texts of an input, from wherever they are."""
    tensor = message.inputs[place]
    find = _raw if message.raw_input_contents else _contents
    found = find(message, place, count)
    return [_text(text, f"{tensor.name}[{number}]") for number, text in enumerate(found)]


def _contents(message: pb.ModelInferRequest, place: int, count: int) -> Sequence[bytes]:
    """The elements of an input that stand in it."""
    contents = message.inputs[place].contents
    kinds = [kind.name for kind, _ in contents.ListFields()]
    if len(contents.bytes_contents) != count or kinds not in ([], ["bytes_contents"]):
        problem = f"are not {count} bytes_contents"
        raise bad(f"inputs[{place}].contents", problem, Reason.BAD_ENCODING)
    return contents.bytes_contents


def _raw(message: pb.ModelInferRequest, place: int, count: int) -> Sequence[bytes]:
    """The elements of an input that stand at the request's end."""
    raw = message.raw_input_contents
    if message.inputs[place].HasField("contents"):
        problem = "and raw_input_contents exclude each other"
        raise bad(f"inputs[{place}].contents", problem, Reason.BAD_ENCODING)
    if len(raw) != len(message.inputs):
        problem = f"are {len(raw)}, for {len(message.inputs)} inputs"
        raise bad("raw_input_contents", problem, Reason.BAD_ENCODING)
    try:
        return elements(raw[place], count)
    except ValueError as error:
        problem = f"{error}: it must hold {count} texts"
        raise bad(f"raw_input_contents[{place}]", problem, Reason.BAD_ENCODING) from None


def _text(raw: bytes, field: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise bad(field, "is not UTF-8", Reason.BAD_ENCODING) from None


def _outputs(messages: Sequence[pb.ModelInferRequest.InferRequestedOutputTensor]) -> list[Output]:
    """The outputs asked for, all when none is named; one that is named twice counts once."""
    outputs: dict[str, Output] = {}
    for place, message in enumerate(messages):
        field = f"outputs[{place}]"
        if message.name not in OUTPUTS:
            raise bad(f"{field}.name", f"is none of {', '.join(OUTPUTS)}")
        refuse_shared_memory(message.parameters, field)
        output = Output(OUTPUTS[message.name], classes(message.parameters, field))
        if output.classes and output.tensor is not SCORES:
            raise bad(f"{field}.parameters[classification]", f"is for {SCORES.name} only")
        outputs[message.name] = output
    return list(outputs.values()) or [Output(tensor) for tensor in OUTPUTS.values()]

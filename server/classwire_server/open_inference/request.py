"""ModelInferRequest -> texts, outputs and options, checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from classwire.contract.reasons import Reason
from classwire_server.errors import RequestError
from classwire_server.scheduling.batch import Priority
from classwire_server.tokenization import Text

from . import inference_pb2 as pb
from .parameters import bad, classes, priority, reject_shared_memory, timeout_s
from .tensors import INPUTS, OUTPUTS, SCORES, TEXT, TEXT_PAIR, Tensor, elements

MAX_ID_BYTES = 1_024
"""Maximum size of a request's id: a stream keeps the ids of its window."""


@dataclass(frozen=True)
class Output:
    """A requested output: its `classes` highest classes, or scores when that is 0."""

    tensor: Tensor
    classes: int = 0


@dataclass(frozen=True)
class InferRequest:
    """A checked request; `timeout_s` counts from its arrival, math.inf for no limit."""

    texts: list[Text]
    outputs: list[Output]
    priority: Priority
    timeout_s: float

    @classmethod
    def parse(cls, message: pb.ModelInferRequest, max_texts: int, default: Priority) -> Self:
        """Check a request of at most `max_texts` texts; `default` is its default priority.

        Raises RequestError, naming the field: BAD_OPTION for a bad parameter, name, type or shape,
        BAD_ENCODING for contents that do not match their shape or are not UTF-8, EMPTY_TEXT,
        TOO_MANY_ITEMS, BAD_ID.
        """
        if len(message.id.encode()) > MAX_ID_BYTES:
            raise bad("id", f"has more than {MAX_ID_BYTES} bytes", Reason.BAD_ID)
        return cls(
            _read_texts(message, max_texts),
            _outputs(message.outputs),
            priority(message.parameters, default),
            timeout_s(message.parameters),
        )


def _read_texts(message: pb.ModelInferRequest, max_texts: int) -> list[Text]:
    """The texts or pairs, row by row."""
    columns: dict[str, list[str]] = {}
    for place, tensor in enumerate(message.inputs):
        field = f"inputs[{place}]"
        if tensor.name not in INPUTS:
            raise bad(f"{field}.name", f"is none of {', '.join(INPUTS)}")
        if tensor.name in columns:
            raise bad(f"{field}.name", "occurs twice")
        if tensor.datatype != INPUTS[tensor.name].datatype:
            raise bad(f"{field}.datatype", f"is not {INPUTS[tensor.name].datatype}")
        reject_shared_memory(tensor.parameters, field)
        count = _count(tensor.shape, f"{field}.shape", max_texts)
        columns[tensor.name] = _column(message, place, count)
    if TEXT.name not in columns:
        raise bad("inputs", f"lack {TEXT.name}", Reason.EMPTY_TEXT)
    texts = columns[TEXT.name]
    if TEXT_PAIR.name not in columns:
        return [Text(text) for text in texts]
    pairs = columns[TEXT_PAIR.name]
    if len(texts) != len(pairs):
        raise bad("inputs", f"hold {len(texts)} {TEXT.name}, and {len(pairs)} {TEXT_PAIR.name}")
    return list(map(Text, texts, pairs))


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


def _column(message: pb.ModelInferRequest, place: int, count: int) -> list[str]:
    """The texts of one input tensor, from its raw or its typed contents."""
    tensor = message.inputs[place]
    find = _raw if message.raw_input_contents else _contents
    found = find(message, place, count)
    return [_text(text, f"{tensor.name}[{number}]") for number, text in enumerate(found)]


def _contents(message: pb.ModelInferRequest, place: int, count: int) -> Sequence[bytes]:
    """The elements of an input in its typed contents."""
    contents = message.inputs[place].contents
    kinds = [kind.name for kind, _ in contents.ListFields()]
    if len(contents.bytes_contents) != count or kinds not in ([], ["bytes_contents"]):
        problem = f"are not {count} bytes_contents"
        raise bad(f"inputs[{place}].contents", problem, Reason.BAD_ENCODING)
    return contents.bytes_contents


def _raw(message: pb.ModelInferRequest, place: int, count: int) -> Sequence[bytes]:
    """The elements of an input in the raw contents of the request."""
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
        problem = f"{error}: the shape says {count} texts"
        raise bad(f"raw_input_contents[{place}]", problem, Reason.BAD_ENCODING) from None


def _text(raw: bytes, field: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise bad(field, "is not UTF-8", Reason.BAD_ENCODING) from None


def _outputs(messages: Sequence[pb.ModelInferRequest.InferRequestedOutputTensor]) -> list[Output]:
    """The requested outputs, each once; all outputs when the request names none."""
    outputs: dict[str, Output] = {}
    for place, message in enumerate(messages):
        field = f"outputs[{place}]"
        if message.name not in OUTPUTS:
            raise bad(f"{field}.name", f"is none of {', '.join(OUTPUTS)}")
        reject_shared_memory(message.parameters, field)
        output = Output(OUTPUTS[message.name], classes(message.parameters, field))
        if output.classes and output.tensor is not SCORES:
            raise bad(f"{field}.parameters[classification]", f"is for {SCORES.name} only")
        outputs[message.name] = output
    return list(outputs.values()) or [Output(tensor) for tensor in OUTPUTS.values()]

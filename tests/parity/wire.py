"""Scores from the server by each of its three RPCs, with the generated stubs."""

from collections.abc import Callable, Iterator, Sequence

import grpc

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from tests.parity.direct import Pairable

Way = Callable[[grpc.Channel, Sequence[Pairable], str], list[pb.Classification]]


def text_input(text: Pairable) -> pb.TextInput:
    """The message for a text or pair."""
    if isinstance(text, tuple):
        return pb.TextInput(text=text[0], text_pair=text[1])
    return pb.TextInput(text=text)


def alone(channel: grpc.Channel, texts: Sequence[Pairable], model: str) -> list[pb.Classification]:
    """Classify each text in a call of its own."""
    classify = ClassifyServiceStub(channel).Classify
    return [
        classify(pb.ClassifyRequest(input=text_input(text), model=model), timeout=60).result
        for text in texts
    ]


def batch_outcomes(
    channel: grpc.Channel, inputs: Sequence[pb.TextInput], model: str
) -> Sequence[pb.Outcome]:
    """The outcomes of all texts, of mixed lengths, in one call."""
    request = pb.BatchClassifyRequest(inputs=inputs, model=model)
    return ClassifyServiceStub(channel).BatchClassify(request, timeout=60).outcomes


def stream_outcomes(
    channel: grpc.Channel, inputs: Sequence[pb.TextInput], model: str
) -> Iterator[tuple[int, pb.Outcome]]:
    """The index and the outcome of each text of a stream, with several in a message."""

    def requests() -> Iterator[pb.StreamClassifyRequest]:
        yield pb.StreamClassifyRequest(config=pb.StreamConfig(model=model))
        items = [pb.StreamItem(id=str(index), input=text) for index, text in enumerate(inputs)]
        for start in range(0, len(items), 3):
            yield pb.StreamClassifyRequest(items=pb.StreamItems(items=items[start : start + 3]))

    for response in ClassifyServiceStub(channel).StreamClassify(requests(), timeout=60):
        for result in response.results.results:
            yield int(result.id), result.outcome


def in_a_batch(
    channel: grpc.Channel, texts: Sequence[Pairable], model: str
) -> list[pb.Classification]:
    """Classify all texts in one call."""
    outcomes = batch_outcomes(channel, [*map(text_input, texts)], model)
    return [outcome.classification for outcome in outcomes]


def in_a_stream(
    channel: grpc.Channel, texts: Sequence[Pairable], model: str
) -> list[pb.Classification]:
    """Classify all texts in a stream."""
    found = dict(stream_outcomes(channel, [*map(text_input, texts)], model))
    return [found[index].classification for index in range(len(texts))]


WAYS: tuple[Way, ...] = (alone, in_a_batch, in_a_stream)


def scores_by_id(classification: pb.Classification) -> list[float]:
    """The scores in the order of the label ids."""
    return [s.score for s in sorted(classification.scores, key=lambda s: s.label_id)]

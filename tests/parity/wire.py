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


def in_a_batch(
    channel: grpc.Channel, texts: Sequence[Pairable], model: str
) -> list[pb.Classification]:
    """Classify all texts, of mixed lengths, in one call."""
    request = pb.BatchClassifyRequest(inputs=map(text_input, texts), model=model)
    outcomes = ClassifyServiceStub(channel).BatchClassify(request, timeout=60).outcomes
    return [outcome.classification for outcome in outcomes]


def in_a_stream(
    channel: grpc.Channel, texts: Sequence[Pairable], model: str
) -> list[pb.Classification]:
    """Classify all texts in a stream, several in a message."""

    def requests() -> Iterator[pb.StreamClassifyRequest]:
        yield pb.StreamClassifyRequest(config=pb.StreamConfig(model=model))
        items = [
            pb.StreamItem(id=str(index), input=text_input(text)) for index, text in enumerate(texts)
        ]
        for start in range(0, len(items), 3):
            yield pb.StreamClassifyRequest(items=pb.StreamItems(items=items[start : start + 3]))

    found: dict[str, pb.Classification] = {}
    for response in ClassifyServiceStub(channel).StreamClassify(requests(), timeout=60):
        for result in response.results.results:
            found[result.id] = result.outcome.classification
    return [found[str(index)] for index in range(len(texts))]


WAYS: tuple[Way, ...] = (alone, in_a_batch, in_a_stream)


def scores_by_id(classification: pb.Classification) -> list[float]:
    """The scores in the order of the label ids."""
    return [s.score for s in sorted(classification.scores, key=lambda s: s.label_id)]

"""Mutated messages, sent by gRPC's own client to every RPC."""

from collections.abc import Iterator, Sequence

import grpc
from google.protobuf.message import Message

from classwire.v1 import classwire_pb2 as pb

from .mutation import Mutator, parses
from .rpcs import ITEMS, RPCS, Rpc
from .tally import Tally, answer_of, item_answers

DEADLINE_S = 30.0
"""A call that takes longer counts as hanging."""
STREAM_SHARE = 0.3
"""Share of calls that are streams of texts, which have the most states."""


class Calls:
    """Calls by number; the same seed and number make the same call. Any thread may make one."""

    def __init__(self, channel: grpc.Channel, seed: int, tally: Tally) -> None:
        self._channel = channel
        self._seed = seed
        self._tally = tally

    def make(self, number: int) -> int:
        """Make one call and return the number of its messages."""
        mutator = Mutator(f"{self._seed} call {number}")
        rpc = RPCS[number % len(RPCS)]
        if mutator.chance(STREAM_SHARE):
            rpc = STREAM_CLASSIFY
        requests = list(_requests(rpc, mutator))
        self._tally.sent(rpc.name, (parses(rpc.request, raw) for raw in requests))
        where = f"call {number}"
        try:
            for raw in self._responses(rpc, requests):
                for answer in item_answers(rpc.response.FromString(raw)):
                    self._tally.answered(rpc.name, answer, where)
        except grpc.RpcError as error:
            self._tally.answered(rpc.name, answer_of(error), where)
        else:
            self._tally.answered(rpc.name, "OK", where)
        return len(requests)

    def _responses(self, rpc: Rpc, requests: list[bytes]) -> Iterator[bytes]:
        """Yield the responses of a call; the first alone when the stream never ends."""
        if rpc.takes_stream:
            both: grpc.StreamStreamMultiCallable[bytes, bytes]
            both = self._channel.stream_stream(rpc.path)
            yield from both(iter(requests), timeout=DEADLINE_S)
        elif rpc.gives_stream:
            many: grpc.UnaryStreamMultiCallable[bytes, bytes]
            many = self._channel.unary_stream(rpc.path)
            watching = many(requests[0], timeout=DEADLINE_S)
            yield next(watching)
            watching.cancel()
        else:
            one: grpc.UnaryUnaryMultiCallable[bytes, bytes]
            one = self._channel.unary_unary(rpc.path)
            yield one(requests[0], timeout=DEADLINE_S)


STREAM_CLASSIFY = next(rpc for rpc in RPCS if rpc.name == "StreamClassify")


def _requests(rpc: Rpc, mutator: Mutator) -> Iterator[bytes]:
    """Yield the messages of a call: one, or several for a stream."""
    if not rpc.takes_stream:
        yield mutator.encoded(rpc.examples)
        return
    starts: Sequence[Message] = rpc.examples
    if rpc is STREAM_CLASSIFY and mutator.chance(0.9):
        yield pb.StreamClassifyRequest(config=pb.StreamConfig()).SerializeToString()
        starts = [ITEMS]
    for _ in range(mutator.number(0, 8)):
        yield mutator.encoded(starts)

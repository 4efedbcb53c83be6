"""A short fuzzing campaign with a fixed seed."""

from pathlib import Path

from classwire.v1 import classwire_pb2 as pb
from tests.chaos.fuzz.campaign import fuzz
from tests.chaos.fuzz.mutation import Mutator, parses
from tests.chaos.fuzz.rpcs import RPCS
from tests.chaos.fuzz.tally import LEAST_PARSED


def test_a_short_campaign_finds_nothing(tmp_path: Path) -> None:
    """Malformed input causes no crash, hang, INTERNAL or UNKNOWN, and leaves nothing behind;
    every reason for bad input occurs.
    """
    tally = fuzz(messages=3_000, frames=500, seed=3, work=tmp_path, say=lambda line: None)

    assert tally.wrongs == []
    assert tally.unreached() == []
    assert tally.parsed_share >= LEAST_PARSED
    assert set(tally.messages) == {rpc.name for rpc in RPCS}
    assert tally.frames.total() >= 500
    assert tally.frames["DATA"] < 0.8 * tally.frames.total()


def test_every_rpc_has_examples() -> None:
    """Every RPC has valid requests to mutate."""
    assert {"Classify", "StreamClassify", "GetModel", "Check", "Watch"} < {r.name for r in RPCS}
    assert all(rpc.examples for rpc in RPCS)


def test_mutations_are_of_their_seed() -> None:
    """The same seed makes the same messages, and another number others."""
    starts = [pb.ClassifyRequest(input=pb.TextInput(text="I love it"))]

    made = [[Mutator(f"{n}").encoded(starts) for n in range(50)] for _ in range(2)]

    assert made[0] == made[1]
    assert len(set(made[0])) > 20
    assert any(not parses(pb.ClassifyRequest, raw) for raw in made[0])

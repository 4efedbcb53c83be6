"""What is measured of replicas behind Envoy. Pure."""

from typing import NamedTuple

REPLICAS = 2
IN_FLIGHT = 32
DIRECT, ONE, TWO = "one replica, direct", "Envoy, one replica", "Envoy, two replicas"
WAYS = (DIRECT, ONE, TWO)
UNARY, STREAM, JSON = "unary", "stream, 1 item a message", "JSON"


class Point(NamedTuple):
    """A measurement: by which way, by which shape of call, and how many calls at a time."""

    way: str
    shape: str
    in_flight: int

    @property
    def name(self) -> str:
        """The key in a result."""
        return f"{self.way}, {self.shape}, {self.in_flight}"


LONE = tuple(
    Point(way, shape, 1)
    for shape, ways in ((UNARY, (DIRECT, ONE)), (STREAM, (DIRECT, ONE)), (JSON, (ONE,)))
    for way in ways
)
ONE_LOADED, TWO_LOADED, JSON_LOADED = LOADED = (
    Point(ONE, UNARY, IN_FLIGHT),
    Point(TWO, UNARY, IN_FLIGHT),
    Point(ONE, JSON, IN_FLIGHT),
)
POINTS = (*LONE, *LOADED)

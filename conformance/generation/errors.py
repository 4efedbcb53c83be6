"""Each row of the contract's table of errors that `serving` can be brought to."""

from collections.abc import Mapping

from .calls import CLASSIFY, classify, refused, text
from .encoding import Json
from .problems import BAD_ENCODING, unknown_model
from .reference import Reference


def vectors(models: Mapping[str, Reference]) -> list[Json]:
    """The group `errors`."""
    stars = models["stars-en"]
    return [
        classify("EMPTY_TEXT", stars, text("   ")),
        refused(
            "UNKNOWN_MODEL",
            CLASSIFY,
            unknown_model("model"),
            request={"model": "no-such-model", "input": text("fine")},
        ),
        refused("BAD_ENCODING", CLASSIFY, BAD_ENCODING, request_bytes="/////w=="),
    ]

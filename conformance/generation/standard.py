"""The standard health service, and what gRPC itself answers."""

from .calls import HEALTH_CHECK, HEALTH_WATCH, vector
from .encoding import Json


def check(name: str, service: str, status: str) -> Json:
    """A service's health."""
    expect = {"response": {"status": status}}
    return vector(name, HEALTH_CHECK, expect, request={"service": service} if service else {})


def watch(name: str, service: str, status: str) -> Json:
    """What a watcher hears first; then it cancels."""
    return vector(
        name,
        HEALTH_WATCH,
        {"first_response": {"status": status}, "error": {"code": "CANCELLED"}},
        request={"service": service} if service else {},
        cancel="after_first_response",
    )


def health_vectors() -> list[Json]:
    """The group `health`."""
    return [
        check("the server", "", "SERVING"),
        watch("watching the server", "", "SERVING"),
        vector(
            "an unknown service",
            HEALTH_CHECK,
            {"error": {"code": "NOT_FOUND"}},
            request={"service": "no.such.Service"},
        ),
    ]


def unimplemented_vectors() -> list[Json]:
    """The group `unimplemented`."""
    return [
        vector(
            "a method that does not exist",
            "classwire.v1.ClassifyService/NoSuchMethod",
            {"error": {"code": "UNIMPLEMENTED"}},
            request_bytes="",
        )
    ]

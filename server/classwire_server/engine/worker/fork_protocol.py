"""The messages between the server and its fork server, and the descriptors that follow them."""

import errno
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .protocol import Link, as_socket

_MOST_DESCRIPTORS = 200
"""Descriptors of one message; Linux allows 253."""


@dataclass(frozen=True)
class Fork:
    """The server's request for a worker. Its descriptors follow.

    `main` is a pickled function, which gets the worker's connections. The descriptors are those of
    the folder to work in and of the connections. The worker may run on `cores`.
    """

    main: bytes
    environment: Mapping[str, str]
    cores: frozenset[int]
    descriptors: int


@dataclass(frozen=True)
class Reap:
    """The server's question for the exit code of a worker. The answer is None while it runs."""

    pid: int


@dataclass(frozen=True)
class Forked:
    """The answer to Fork. A descriptor of the process follows."""

    pid: int


@dataclass(frozen=True)
class CannotFork:
    """The system starts no further process."""

    error: OSError


def send_descriptors(connection: Link, descriptors: Sequence[int]) -> None:
    """Send duplicates of descriptors to the process at the other end. Raises OSError."""
    with as_socket(connection) as shared:
        for first in range(0, len(descriptors), _MOST_DESCRIPTORS):
            socket.send_fds(shared, [b"\0"], descriptors[first : first + _MOST_DESCRIPTORS])


def receive_descriptors(connection: Link, number: int) -> list[int]:
    """Wait for descriptors. Raises EOFError or OSError when the other side has closed, and OSError
    EMFILE, with none of them left open, when this process may not open so many.
    """
    received: list[int] = []
    try:
        with as_socket(connection) as shared:
            for _ in range(0, number, _MOST_DESCRIPTORS):
                data, some, _, _ = socket.recv_fds(shared, 1, _MOST_DESCRIPTORS)
                received += some
                if not data:
                    raise EOFError
        if len(received) < number:  # the system has left out those that it could not open
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    except BaseException:
        close_all(received)
        raise
    return received


def close_all(descriptors: Iterable[int]) -> None:
    """Close descriptors."""
    for descriptor in descriptors:
        os.close(descriptor)

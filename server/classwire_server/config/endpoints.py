"""Checks whether the server can listen on an address, and explains why not.

gRPC gives no reason, and silently takes over the Unix socket of a running server.
"""

import os
import socket
import stat

from classwire_server.errors import ConfigError, StartError


def check_host(setting: str, host: str) -> None:
    """Raise ConfigError, which names the setting, if DNS cannot encode the host name."""
    try:
        host.encode("idna")
    except UnicodeError:
        raise ConfigError(setting, f"{host} is not a valid host name") from None


def check_port(host: str, port: int) -> None:
    """Raise StartError if the port cannot be bound on this host. Port 0 always can."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gRPC itself does
            probe.bind(address)
    except OSError as error:
        raise cannot_listen(target_of(host, port), error) from None


def target_of(host: str, port: int) -> str:
    """Return `host:port`, with brackets around an IPv6 address."""
    return f"{f'[{host}]' if ':' in host else host}:{port}"


def check_unix_socket(path: str) -> None:
    """Raise StartError if a server listens at the path, or it is not a socket."""
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(path)
    except FileNotFoundError as error:
        if not os.path.isdir(os.path.dirname(os.path.abspath(path))):
            raise cannot_listen(path, error) from None
        return
    except ConnectionRefusedError:
        if stat.S_ISSOCK(os.stat(path).st_mode):
            return  # left by a server that has ended; gRPC replaces it
        raise StartError(f"cannot listen on {path}: the file is not a socket") from None
    except OSError as error:
        raise cannot_listen(path, error) from None
    raise StartError(f"cannot listen on {path}: another server listens there")


def cannot_listen(address: str, error: OSError) -> StartError:
    """Return the one-line error for an address on which the server cannot listen."""
    return StartError(f"cannot listen on {address}: {(error.strerror or str(error)).lower()}")

"""Whether an address can be listened on, said in words: gRPC only says that it can't.

It also takes over the Unix socket of a server that is running, without a word.
"""

import os
import socket
import stat

from classwire_server.errors import ConfigError, StartError


def check_host(setting: str, host: str) -> None:
    """Raise ConfigError, naming the setting, for a host name that DNS cannot hold."""
    try:
        host.encode("idna")
    except UnicodeError:
        raise ConfigError(setting, f"{host}: is not the name of a host") from None


def check_port(host: str, port: int) -> None:
    """Raise StartError when the port of this host cannot be bound. Port 0 always can."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gRPC itself does
            probe.bind(address)
    except OSError as error:
        raise cannot_listen(target_of(host, port), error) from None


def target_of(host: str, port: int) -> str:
    """A host and a port in one word."""
    return f"{f'[{host}]' if ':' in host else host}:{port}"


def check_unix_socket(path: str) -> None:
    """Raise StartError when a server answers at the path, or something else lies there."""
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(path)
    except FileNotFoundError as error:
        if not os.path.isdir(os.path.dirname(os.path.abspath(path))):
            raise cannot_listen(path, error) from None
        return
    except ConnectionRefusedError:
        if stat.S_ISSOCK(os.stat(path).st_mode):
            return  # left behind by a server that is gone; gRPC replaces it
        raise StartError(f"cannot listen on {path}: it is no socket") from None
    except OSError as error:
        raise cannot_listen(path, error) from None
    raise StartError(f"cannot listen on {path}: a server answers there already")


def cannot_listen(address: str, error: OSError) -> StartError:
    """Return the error for an address that cannot be listened on, in one line."""
    return StartError(f"cannot listen on {address}: {(error.strerror or str(error)).lower()}")

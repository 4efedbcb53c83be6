"""The hosts and ports of one server's services: such as can be, and none where another is."""

import ipaddress
from collections.abc import Sequence
from typing import NamedTuple

from .errors import ConfigError

_Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
_ALL_4, _ALL_6 = ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")
_OWN_4, _OWN_6 = ipaddress.ip_network("127.0.0.1"), ipaddress.ip_network("::1")


class Endpoint(NamedTuple):
    """Where a service listens; `prefix` is what the names of its two settings begin with.

    There is none on a port below 0, nor on an empty host; port 0 is any free one.
    """

    prefix: str
    host: str
    port: int


def check_endpoints(endpoints: Sequence[Endpoint]) -> None:
    """Raise ConfigError for a host that no name server could know, and where two services, which
    listen in this order, would be at the same place.
    """
    for endpoint in endpoints:
        try:
            endpoint.host.encode("idna")
        except UnicodeError:
            setting = f"{endpoint.prefix}host"
            raise ConfigError(setting, f"{endpoint.host}: is not the name of a host") from None
    taken: list[Endpoint] = []
    for endpoint in endpoints:
        if not endpoint.host or endpoint.port <= 0:
            continue
        for other in taken:
            if endpoint.port == other.port and _overlap(endpoint, other):
                flag = f"--{other.prefix}port".replace("_", "-")
                raise ConfigError(f"{endpoint.prefix}port", f"{endpoint.port} is {flag} already")
        taken.append(endpoint)


def _overlap(one: Endpoint, other: Endpoint) -> bool:
    if one.host == other.host:
        return True
    return any(
        mine.version == its.version and mine.overlaps(its)
        for mine in _networks(one)
        for its in _networks(other)
    )


def _networks(endpoint: Endpoint) -> _Networks:
    """What a service listens on; nothing is known of a host's name.

    gRPC takes both families for either of the addresses that mean all, where it is the first to
    come, and for localhost; metrics are served in the family that is written.
    """
    prefix, host, _ = endpoint
    if host == "::":
        return _ALL_4, _ALL_6
    if host == "0.0.0.0":
        return (_ALL_4, _ALL_6) if prefix == "" else (_ALL_4,)
    if host.lower() == "localhost":
        return (_OWN_4,) if prefix == "metrics_" else (_OWN_4, _OWN_6)
    try:
        return (ipaddress.ip_network(host),)
    except ValueError:
        return ()

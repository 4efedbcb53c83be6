"""All that operators may ask of one server, from its first moment to its last."""

from collections.abc import Callable, Sequence

from classwire_server.config.server_config import ServerConfig
from classwire_server.gate import Gate
from classwire_server.registry.loader import Loader
from classwire_server.registry.registry import Registry
from classwire_server.rpc.rejection import Listener
from classwire_server.security.certificates import Certificates
from classwire_server.service.streaming.streams import Streams

from .changes import Changes
from .port import AdminPort
from .service import AdminService


class Administration:
    """Answers operators from `listen` until `close`, changes models from `allow` until `forbid`.

    `drain` begins the end of the server, and returns; `on_change` is called when there is another
    model, and `on_gone` with the name of one that is there no more. Called by any thread.
    """

    def __init__(
        self,
        config: ServerConfig,
        registry: Registry,
        loader: Loader,
        gate: Gate,
        streams: Streams,
        *,
        certificates: Certificates | None,
        listeners: Sequence[Listener],
        on_change: Callable[[], None],
        on_gone: Callable[[str], None],
        drain: Callable[[], None],
    ) -> None:
        self._changes = Changes(registry, loader, config.drain_timeout_s, on_change, on_gone)
        self._service = AdminService(registry, self._changes, gate, streams, config, drain)
        self._port = AdminPort(self._service, config, certificates, listeners)

    @property
    def target(self) -> str:
        """Where it listens, as `host:port`."""
        return self._port.target

    def listen(self) -> None:
        """Bind the port. Raises StartError when the address cannot be had."""
        self._port.listen()

    def allow(self) -> None:
        """The models that the server starts with are loaded: from now on they can be changed."""
        self._service.opens()

    def forbid(self) -> None:
        """The server ends: from now on nothing can be changed."""
        self._changes.close()

    def close(self) -> None:
        """Let the last answers leave, and end."""
        self._port.close()

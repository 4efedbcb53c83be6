"""All shadows of a server."""

from collections.abc import Iterator, Mapping

from classwire_server.config.predictions import ShadowSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import ConfigError
from classwire_server.registry.registry import Registry

from .shadow import Shadow, models_of, problem_of


class Shadows(Mapping[str, Shadow]):
    """The shadows by the name of the model whose texts they score."""

    def __init__(self, config: ServerConfig, registry: Registry) -> None:
        self._by_model = {
            source.model: Shadow(source, registry, config.default_timeout_s)
            for source in config.shadows
        }

    def __getitem__(self, model: str) -> Shadow:
        return self._by_model[model]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_model)

    def __len__(self) -> int:
        return len(self._by_model)

    def look(self) -> None:
        """Start or stop each as its models now are."""
        for shadow in self.values():
            shadow.look()

    def close(self) -> None:
        """Stop all."""
        for shadow in self.values():
            shadow.close()


def check(source: ShadowSource, registry: Registry) -> None:
    """Raise ConfigError if the models of a shadow cannot be compared."""
    if problem := problem_of(*models_of(source, registry)):
        raise ConfigError("shadow", f"{source.other} cannot shadow {source.model}: {problem}")

"""The compiled engine of a plain one, from the cache."""

from classwire_server.checkpoint.loading import Checkpoint
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine.forward.packed import PackedEngine

from . import export
from .cache import CompileCache, cache_folder


def cached_engine(
    plain: PackedEngine, checkpoint: Checkpoint, config: ServerConfig, lanes: int
) -> PackedEngine | None:
    """The compiled engine with the weights of a plain one, on `lanes` lanes and one for urgent
    batches; None if the cache does not have it.

    Raises CompileError when the compiled model cannot be loaded, or others could have written it.
    """
    key = export.artefact_key(checkpoint, plain.traits.precision)
    folder = CompileCache(cache_folder(config.compile_cache)).find(key)
    if folder is None:
        return None
    return plain.with_forward(export.CompiledModel(folder, plain.model, lanes + 1))

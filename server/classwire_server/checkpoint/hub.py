"""The first question to the hub about a model, before anything slow."""

from typing import Any

from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig

from .adapters import CONFIG as ADAPTER_CONFIG
from .problems import explain

_CONFIG = "config.json"


def ask_hub(source: ModelSource, config: ServerConfig) -> None:
    """Ask the hub once for a model that is neither a folder nor in the hub's cache.

    Later questions would each go through the hub library's retries again. Raises CheckpointError,
    one line, if the hub has no such model or does not answer.
    """
    if source.is_folder:
        return
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    where: dict[str, Any] = {
        "revision": source.revision or None,
        "cache_dir": config.cache_dir or None,
    }
    if config.offline or constants.HF_HUB_OFFLINE:
        return
    for name in (_CONFIG, ADAPTER_CONFIG):
        if isinstance(huggingface_hub.try_to_load_from_cache(source.location, name, **where), str):
            return
    try:
        huggingface_hub.hf_hub_download(source.location, _CONFIG, **where)
    except Exception as error:  # the library raises errors of many types
        is_answer = isinstance(error, EntryNotFoundError)
        if is_answer and not isinstance(error, LocalEntryNotFoundError):
            return  # the model is there: an adapter has no config.json
        raise explain(error, source.location, source.location, where, config) from error

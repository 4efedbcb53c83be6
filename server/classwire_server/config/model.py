"""The settings of the checkpoints to serve."""

from dataclasses import dataclass

from .setting import setting


@dataclass(frozen=True)
class ModelSettings:
    """Which checkpoints the server loads, and from where."""

    model: tuple[str, ...] = setting(
        (),
        "Checkpoint to serve, as [name=]FOLDER or [name=]HUB_ID[@revision]. Repeatable; the first "
        "is the default model. Without it, the server serves the embedded English star model.",
    )
    revision: str = setting(
        "", "Hub revision (branch, tag or commit) of models that name no revision."
    )
    offline: bool = setting(
        False, "Load hub models only from the cache on disk, as with HF_HUB_OFFLINE=1."
    )
    cache_dir: str = setting(
        "", "Folder of the hub cache. Default: the cache of transformers (HF_HOME)."
    )
    adapter_bases: str = setting(
        "",
        "Folder of base models. An adapter may name a folder in it as its base model, or one in "
        "its own folder, or a hub id.",
    )
    trust_remote_code: bool = setting(
        False, "Run Python code from the checkpoint. Use it only with checkpoints that you trust."
    )
    safetensors_only: bool = setting(
        False, "Reject checkpoints whose weights are not in safetensors format."
    )

"""Where the files of a checkpoint are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, eq=False)
class CheckpointFiles:
    """Where the files of a checkpoint are: all in one place, `base`, unless it is an adapter.

    `name` is the checkpoint as errors name it, `base` a folder or hub id, `revision` that of a hub
    id, if one is given.
    """

    name: str
    base: str
    revision: str | None

    @property
    def tokenizer(self) -> str:
        """The folder or hub id that has the tokenizer."""
        return self.base

    def folders(self, base: Path) -> Sequence[Path]:
        """The folders on this machine that have the files; `base` is that of the base."""
        return (base,)

    def commit(self, commit: str) -> str:
        """The commit of a checkpoint from the hub, from that of its base."""
        return commit

    def labels(self, config: Any, options: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of labels that replace those of the base's config.

        `options` are those of transformers for reading the base.
        """
        return {}

    def without_own(self, report: Mapping[str, Any]) -> Mapping[str, Any]:
        """What is wrong with the weights of the base, less what comes from elsewhere."""
        return report

    def merged_into(self, model: Any) -> Any:
        """The model with all its weights."""
        return model

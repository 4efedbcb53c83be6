"""The settings of what is known about answers over time: references and shadows."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from classwire_server.errors import ConfigError

from .files import contents
from .model_source import MODEL_NAME
from .setting import setting

_SHADOW = re.compile(
    rf"(?P<model>{MODEL_NAME.pattern})=(?P<other>{MODEL_NAME.pattern}):(?P<share>\S+)"
)


@dataclass(frozen=True)
class ShadowSource:
    """A share of the texts of `model`, from 0 to 1, that `other` also scores."""

    model: str
    other: str
    share: float

    @staticmethod
    def parse(text: str) -> "ShadowSource":
        """Parse `MODEL=OTHER:SHARE`. Raises ConfigError."""
        found = _SHADOW.fullmatch(text)
        if found is None:
            raise ConfigError("shadow", f"{text!r} is not MODEL=OTHER:SHARE")
        try:
            share = float(found["share"])
        except ValueError:
            share = 0.0
        if not 0.0 < share <= 1.0:
            raise ConfigError("shadow", f"{found['share']} is not a share above 0 and up to 1")
        if found["model"] == found["other"]:
            raise ConfigError("shadow", f"{found['model']} cannot shadow itself")
        return ShadowSource(found["model"], found["other"], share)


@dataclass(frozen=True)
class PredictionSettings:
    """To what the server compares its answers over time."""

    reference_distribution: tuple[str, ...] = setting(
        (),
        "File of how often a model gave each label before (JSON: label to number of texts), as "
        "[NAME=]FILE; without NAME for the default model. Repeatable. The metrics then have the "
        "distance of recent texts from it. `classwire classify --distribution` writes such a file.",
    )
    distribution_window_s: float = setting(
        3_600.0, "Seconds of recent texts that the server compares with --reference-distribution."
    )
    shadow: tuple[str, ...] = setting(
        (),
        "A second model that also scores a share of a model's texts, as MODEL=OTHER:SHARE. "
        "Repeatable. Callers never get its answers; the metrics have how often both agree. Both "
        "models need the same labels. The server does this only while it has no other work.",
    )

    @property
    def shadows(self) -> tuple[ShadowSource, ...]:
        """The shadows, one for each model that has one. Raises ConfigError."""
        return tuple(map(ShadowSource.parse, self.shadow))

    def references(self, default_model: str) -> dict[str, str]:
        """The path of the reference distribution by model. Raises ConfigError."""
        paths: dict[str, str] = {}
        for text in self.reference_distribution:
            name, separator, path = text.partition("=")
            if not separator:
                name, path = default_model, text
            if name in paths:
                raise ConfigError("reference_distribution", f"{name} has two")
            paths[name] = path
        return paths

    def check_predictions(self, models: tuple[str, ...]) -> None:
        """Raise ConfigError for a model that is not served, and a file that cannot be used."""
        for name, path in self.references(models[0]).items():
            _check_served("reference_distribution", name, models)
            read_distribution(path)
        for shadow in self.shadows:
            for name in (shadow.model, shadow.other):
                _check_served("shadow", name, models)
        shadowed = [shadow.model for shadow in self.shadows]
        if twice := next((name for name in shadowed if shadowed.count(name) > 1), None):
            raise ConfigError("shadow", f"{twice} has two shadows")


def read_distribution(path: str) -> Mapping[str, int]:
    """The number of texts by label in a file. Raises ConfigError, which quotes nothing from it."""
    try:
        counts: Any = json.loads(contents("reference_distribution", path))
    except (ValueError, RecursionError):  # not UTF-8, not JSON, or a number with too many digits
        counts = None
    if not isinstance(counts, dict) or not all(map(_is_count, counts.values())):
        raise ConfigError(
            "reference_distribution",
            f"{path}: is not a JSON object of labels and their numbers of texts",
        )
    return counts


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _check_served(setting: str, name: str, models: tuple[str, ...]) -> None:
    if name not in models:
        raise ConfigError(setting, f"there is no model {name!r}; there is {', '.join(models)}")

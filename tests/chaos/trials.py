"""All trials by name, in the order in which they are run."""

from collections.abc import Mapping

from .trial import Trial

TRIALS: Mapping[str, Trial] = {}

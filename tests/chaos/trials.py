"""All trials by name, in the order in which they are run."""

from collections.abc import Mapping

from .fairness import FAIRNESS
from .idle_streams import IDLE_STREAMS
from .overload import OVERLOAD, OVERLOAD_EMBEDDED
from .traffic import TRAFFIC
from .trial import Trial

TRIALS: Mapping[str, Trial] = {
    trial.name: trial
    for trial in (
        OVERLOAD,
        OVERLOAD_EMBEDDED,
        TRAFFIC,
        IDLE_STREAMS,
        FAIRNESS,
    )
}

"""All trials by name, in the order of a run."""

from collections.abc import Mapping

from tests.chaos.fuzz.trial import FUZZ

from .failover import FAILOVER
from .fairness import FAIRNESS
from .fleet import FLEET
from .idle_streams import IDLE_STREAMS
from .kills import KILLS
from .long_texts import LONG_TEXTS
from .overload import OVERLOAD, OVERLOAD_EMBEDDED
from .poison import POISON
from .raising import RAISING
from .ray.trials import RAY_BULK, RAY_NODE, RAY_SCALE
from .rolling import ROLLING
from .rotation import ROTATION
from .sharing import SHARING
from .slow_replica import SLOW_REPLICA
from .soak import SOAK
from .standstill import STANDSTILL
from .storm import STORM
from .swaps import SWAPS_TRIAL
from .traffic import TRAFFIC
from .trial import Trial

TRIALS: Mapping[str, Trial] = {
    trial.name: trial
    for trial in (
        OVERLOAD,
        OVERLOAD_EMBEDDED,
        STANDSTILL,
        TRAFFIC,
        IDLE_STREAMS,
        FAIRNESS,
        SHARING,
        KILLS,
        RAISING,
        POISON,
        FAILOVER,
        LONG_TEXTS,
        ROLLING,
        FLEET,
        SLOW_REPLICA,
        RAY_NODE,
        RAY_SCALE,
        RAY_BULK,
        ROTATION,
        SWAPS_TRIAL,
        STORM,
        FUZZ,
        SOAK,
    )
}

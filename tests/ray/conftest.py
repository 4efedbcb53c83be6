"""Settings of Ray, which it reads when it is imported, and its import."""

import os
import warnings
from importlib.util import find_spec

from benchmarks.ray.environment import VARIABLES

os.environ |= VARIABLES
if find_spec("ray") is not None:
    with warnings.catch_warnings():  # pydantic's, of Ray Serve's own classes
        warnings.simplefilter("ignore")
        import ray.serve  # noqa: F401

"""The environment of `make ray`, for trials and benchmarks that run outside of it."""

from pathlib import Path

PYTHON = Path(__file__).parents[2] / ".ray" / "bin" / "python"
VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # By default Ray writes a token into the user's home.
    "RAY_AUTH_MODE": "disabled",
}
"""What Ray reads when it is imported."""
NOT_INSTALLED = "Ray is not installed: run `make ray`"

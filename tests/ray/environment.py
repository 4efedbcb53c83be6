"""The environment of Ray in tests and trials, which it reads when it is imported."""

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # By default Ray writes a token into the user's home.
    "RAY_AUTH_MODE": "disabled",
}

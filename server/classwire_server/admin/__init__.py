"""The admin service: operators change the models of a running server, and drain it."""

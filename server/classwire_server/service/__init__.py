"""protobuf <-> domain: the RPCs of the contract, and the one table of status codes."""

"""The parts of the contract that client and server share. Importing them loads no gRPC."""

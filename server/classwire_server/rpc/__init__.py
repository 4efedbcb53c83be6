"""Everything that uses grpcio: how the server receives, bounds, observes and ends calls."""

"""All that knows grpcio: how a call is received, bounded, observed and ended."""

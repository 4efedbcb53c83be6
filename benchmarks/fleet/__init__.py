"""One and two replicas behind Envoy: throughput, latency, JSON and processor time."""

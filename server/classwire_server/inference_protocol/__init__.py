"""The Open Inference Protocol, version 2, as Triton speaks it, over the same core."""

"""The Open Inference Protocol, and its messages, generated from protos/open_inference."""

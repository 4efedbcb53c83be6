"""Messages of the Open Inference Protocol, generated from protos/open_inference."""

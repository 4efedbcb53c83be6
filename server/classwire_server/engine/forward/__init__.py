"""The forward pass: what runs a model on a device."""

"""The forward pass: the code that runs a model on a device."""

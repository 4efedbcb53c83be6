"""What operators may ask of a server."""

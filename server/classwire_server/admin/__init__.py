"""What operators may ask of a running server: its models changed, its end."""

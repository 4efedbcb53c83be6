"""How the embedded checkpoint `stars-en` is made, and how good it is."""

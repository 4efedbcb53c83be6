"""Vectors from transformers and the words of the contract: `python -m conformance.generation`.

Nothing here imports the server or our client, or asks a server of ours.
"""

"""Vectors from transformers and the words of the contract: `python -m conformance.generation`.

Nothing here imports or calls Classwire's server or client.
"""

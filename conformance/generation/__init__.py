"""Generates vectors from transformers and the contract: `python -m conformance.generation`.

It neither imports Classwire's packages nor calls a server.
"""

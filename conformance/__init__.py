"""The conformance kit: the contract as test vectors, and programs that run them."""

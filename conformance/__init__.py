"""The conformance kit: what the contract says, as data, and programs in six languages that check it."""

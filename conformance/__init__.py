"""The conformance kit: what the contract says, as data, and programs that check it."""

"""Nothing of an earlier version of the contract is gone or changed."""

from pathlib import Path

from tests.contract.described import described

EARLIER = Path(__file__).with_name("contract-1.0.txt")
"""Contract 1.0: what described.py printed with its client. scripts/test-old-contract compares."""


def test_the_contract_keeps_all_of_1_0() -> None:
    """Every message, field, enum value and RPC has its name, number, type and label."""
    now = set(described())

    earlier = EARLIER.read_text(encoding="utf-8").splitlines()
    assert [line for line in earlier if line not in now] == []

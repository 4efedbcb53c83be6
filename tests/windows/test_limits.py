"""Limits of windows: lowered until a text fits the queue and its answer."""

from typing import Any

import pytest

from classwire_server.config.server_config import ServerConfig
from classwire_server.registry.limits import MAX_ANSWER_BYTES, limits_of

LABELS = ("a", "b")


@pytest.mark.parametrize(
    ("settings", "max_tokens", "expected"),
    [
        ({}, 512, (64, 512)),
        ({}, 8_192, (16, 512)),
        ({"max_queue_tokens": 1_000}, 512, (1, 512)),
        ({"max_windows_per_text": 5, "max_windows_per_call": 1}, 512, (5, 256)),
        ({"max_windows_per_text": 300, "max_queue_tokens": 1 << 20}, 512, (300, 512)),
        (
            {"max_windows_per_text": 900, "max_queue_tokens": 1 << 20}, 512, (900, 900)
        ),
        ({"max_windows_per_call": 700, "max_texts_per_call": 1_000}, 512, (64, 1_000)),
    ],
)  # fmt: skip
def test_limits_follow_settings_and_queue(
    settings: dict[str, Any], max_tokens: int, expected: tuple[int, int]
) -> None:
    """A text of the most windows fits half of the queue; a call takes no fewer windows than a text
    has, and no fewer than it may have texts.
    """
    limits = limits_of(LABELS, max_tokens, 10, ServerConfig(**settings))

    assert (limits.max_windows_per_text, limits.max_windows_per_call) == expected


def test_answers_stay_under_their_limit() -> None:
    """With many labels a text has fewer windows, so that its answer with their scores fits."""
    labels = tuple(str(number) for number in range(40_000))
    limits = limits_of(labels, 512, 10, ServerConfig())

    windows_bytes = 4 * len(labels) * limits.max_windows_per_text
    assert 1 < limits.max_windows_per_text < 64
    assert windows_bytes < MAX_ANSWER_BYTES
    assert limits.max_texts_per_call_with_windows == 1

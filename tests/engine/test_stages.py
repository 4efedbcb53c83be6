"""Log lines about the stages of loading a model."""

import re

import pytest

from classwire_server.engine import stages
from tests.contract.engines import eventually


def test_a_long_stage_is_not_silent(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage that lasts has a line again and again, and one at its end unless it fails."""
    caplog.set_level("INFO", "classwire_server")
    monkeypatch.setattr(stages, "EVERY_S", stages.LEAST_S)
    with stages.stage("tiny", "reading"):
        assert eventually(lambda: len(caplog.messages) == 2)
    first, *_, last = caplog.messages
    assert re.fullmatch(r"tiny: reading, \d+ s so far", first)
    assert re.fullmatch(r"tiny: reading took \d+\.\d s", last)
    with pytest.raises(ValueError, match="bad"), stages.stage("tiny", "writing"):
        raise ValueError("bad")
    assert "writing took" not in caplog.text

"""The settings page matches the code."""

from scripts.settings_page import PAGE, page


def test_page_is_up_to_date() -> None:
    """docs/reference/settings.md is generated from the current definitions."""
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m scripts.settings_page"

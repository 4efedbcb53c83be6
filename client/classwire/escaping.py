"""Escapes for texts of others, for terminals and logs."""

_JOINERS = "\u200c\u200d"  # invisible, but emoji and several scripts are wrong without them


def visible(text: str) -> str:
    """Return the text with control characters escaped, so that it cannot control a terminal."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in _JOINERS else char.encode("unicode_escape").decode()
        for char in text
    )

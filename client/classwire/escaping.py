"""Texts of others as terminals and logs may have them."""

_JOINERS = "\u200c\u200d"  # invisible, but emoji and several scripts are wrong without them


def visible(text: str) -> str:
    """Return the text with control characters as escapes, so that it cannot drive a terminal, nor
    begin a line of its own.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in _JOINERS else char.encode("unicode_escape").decode()
        for char in text
    )

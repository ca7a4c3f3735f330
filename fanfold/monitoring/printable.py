"""Text of others, for a terminal."""


def printable(text: str) -> str:
    r"""Return text of others with what a terminal would obey made visible.

    A line break could forge a line of ours, and an escape sequence the whole screen.

    Example:
        >>> printable("bye\nround 7: \x1b[2J")
        'bye\\nround 7: \\x1b[2J'
    """
    if text.isprintable():  # nearly all text is
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )

"""Text that a terminal would obey, and what gives it away on one."""

from typing import Final

ESCAPES: Final = "\x1b]0;PWNED\x07\x1b[2J\x1b[1;1H\x1b[31mFAKE PROMPT$ \r\nFAKE LINE\u202e\u2028\x9b1m\x7f"


def raw_text(shown: bytes) -> list[str]:
    """Return how text of others got to a terminal as it came."""
    found = []
    if b"\x1b]0;" in shown or b"\x1b[2J" in shown:
        found.append("escape sequences of a stranger reach the terminal")
    if b"\nFAKE LINE" in shown:
        found.append("a stranger writes lines of its own on the terminal")
    if any(sign.encode() in shown for sign in ("\u202e", "\u2028", "\u009b", "\x7f")):
        found.append("signs that turn or end lines reach the terminal")
    return found

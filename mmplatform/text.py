"""The words of others, made harmless: nothing that a peer, a relay or the network says steers a terminal, forges a line
or hides in one.

There are two walls. ``escaped`` is the first: it stands where words of others become a text of ours (a reason, an
error, a line of a log). ``printable`` and ``printable_json`` are the second: every writer of a terminal, a table or a
log has its texts pass them, whatever came in. Escaping twice changes nothing.
"""

import json
import re
from collections.abc import Iterable
from typing import Final

TOLD: Final = 20  # names that an error lists
QUOTED: Final = 100  # characters of what was passed, in the error that refuses it
LONGEST: Final = 512  # characters of the words of others in one text
# C0, DEL, C1; marks and changes of writing direction; line separators; characters that show nothing; lone surrogates.
# Joiners (U+200C, U+200D) and variation selectors stay: Persian, Indic scripts and emoji are written with them.
_STEERING: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f"
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
    "\u2028\u2029"
    "\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
    "\ud800-\udfff]"
)
_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escaped(text: object, most: int = LONGEST) -> str:
    """Return the words of others as a text of ours: on one line, at most ``most`` characters of theirs."""
    words = str(text)
    return printable(words if len(words) <= most else f"{words[:most]}...")


def quoted(text: object, most: int = QUOTED) -> str:
    """Return what somebody passed as errors quote it: as Python writes it, and of what is long the beginning."""
    if not isinstance(text, str) or len(text) <= most:
        return escaped(repr(text))
    return f"{text[:most]!r}... ({len(text)} characters)"


def some(names: Iterable[str], most: int = TOLD) -> str:
    """Return the first ``most`` names, in the order of the alphabet, and how many more there are."""
    first = sorted(names)
    more = [f"and {len(first) - most:,} more"] if len(first) > most else []
    return ", ".join(first[:most] + more)


def printable(text: str) -> str:
    r"""Write every character that steers, breaks or hides in ``text`` as Python does: \x1b."""
    return _STEERING.sub(_visible, text)


def printable_json(text: str) -> str:
    """Write those characters in a JSON text as JSON does: the value it stands for stays the same."""
    return _STEERING.sub(lambda found: json.dumps(found[0])[1:-1], text)


def _visible(found: re.Match[str]) -> str:
    number = ord(found[0])
    if number > 0xFFFF:
        return f"\\U{number:08x}"
    return _SHORT.get(found[0]) or (f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}")

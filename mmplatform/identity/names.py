"""Which names peers and lists can have here: those of lists begin with @, those of peers do not."""

from typing import Final, Literal, NewType

from mmplatform.errors import InvalidKey, InvalidName
from mmplatform.identity.keys import parse_sign_id
from mmplatform.text import quoted

ListName = NewType("ListName", str)  # of one's own list, as "@family"
Several = ListName | Literal["@friends", "@devices"]  # a destination that is more than one peer, as its type says

LONGEST_NAME: Final = 64  # characters
AT: Final = "@"  # begins the name of a list, and that of a circle where one is a destination
MEANINGS: Final = {
    "local": "this process",
    "self": "this node and your own devices",
    "friends": "all your friends",
    "devices": "all your other devices",
    "public": "everybody else",
}


def check_name(name: str) -> None:
    """Raise InvalidName unless ``name`` can be that of a peer at all."""
    if not isinstance(name, str):
        raise InvalidName(f"{quoted(name)}: the name of a peer is text; an empty one takes the name away")
    _check(name, name, "a peer")


def check_list_name(name: str) -> None:
    """Raise InvalidName unless ``name`` can be that of a list at all."""
    if not isinstance(name, str):
        raise InvalidName(f"{quoted(name)}: the name of a list is text, and begins with {AT}")
    if not name.startswith(AT):
        raise InvalidName(f"{quoted(name)}: the name of a list begins with {AT}, as {quoted(AT + name)}")
    _check(name, name.removeprefix(AT), "a list")


def _check(name: str, text: str, whose: str) -> None:
    if text in MEANINGS:
        raise InvalidName(
            f"{quoted(name)} is no name for {whose}: it means something already ({MEANINGS[text]}); choose another one"
        )
    plain = text.isprintable() and text.strip() == text and not text.startswith(("-", AT))
    if not plain or not 0 < len(text) <= LONGEST_NAME or _is_sign_id(text):
        raise InvalidName(
            f"{quoted(name)}: a name is 1 to {LONGEST_NAME} printable characters, begins with neither - nor @, is no "
            "signId"
        )


def _is_sign_id(text: str) -> bool:
    try:
        parse_sign_id(text)
    except InvalidKey:
        return False
    return True

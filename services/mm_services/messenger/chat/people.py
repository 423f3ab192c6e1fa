"""Whom one can talk to, how they are called here, and who is there."""

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from mm_services.messenger.chat.conversation import Conversation, key_of
from mm_services.messenger.chat.conversations import OTHERS
from mm_services.messenger.chat.talk import EVERYBODY
from mmplatform.errors import LocalError
from mmplatform.identity.keys import SignId
from mmplatform.identity.names import AT
from mmplatform.text import escaped

if TYPE_CHECKING:  # the window is painted before it is imported
    from mmplatform.platform import Platform

CIRCLES: Final = ("@friends", "@devices")
SHORT: Final = 8  # characters of a signId that stand for who has no name here
NAMED: Final = 3  # members of a group without a name that are named


class Destination(NamedTuple):
    """Somebody to talk to, or several, or everybody: nobody in ``members``."""

    label: str
    members: tuple[SignId, ...]


class ChatPeople:
    """The people of a platform, as the chat shows them."""

    def __init__(self, platform: "Platform") -> None:
        self._platform, self._contacts = platform, platform.contacts
        self.own = platform.sign_id

    def name(self, peer: str) -> str:
        """Return what ``peer`` is called here: its name, or the beginning of its signId."""
        return escaped(self._contacts.name(peer)) or f"{escaped(peer[:SHORT])}.."

    def known(self, peer: str) -> bool:
        """Whether ``peer`` is a friend, a device, or somebody with a name here."""
        return self._contacts.known(peer)

    def blocked(self, peer: SignId) -> bool:
        """Whether we want to have nothing to do with ``peer``."""
        return peer in self._contacts.blocked

    def members(self, destination: str) -> tuple[SignId, ...]:
        """Return who is meant by a name, a signId, a list, a circle, or "*". Raises InvalidKey or LocalError."""
        if destination in ("", EVERYBODY):
            return ()
        if destination.startswith(AT):
            return tuple(self._contacts.members(destination))
        peer = self._contacts.resolve(destination)
        if peer == self.own:
            raise LocalError("this is our own key; name somebody else to talk to")
        return (peer,)

    def destinations(self) -> Iterator[Destination]:
        """Give everybody, then our lists and circles, then those whom we know."""
        yield Destination("everybody", ())
        yield from self._groups()
        for peer in sorted(
            (peer for peer in self._known() if peer != self.own), key=lambda key: self.name(key).lower()
        ):
            yield Destination(self.name(peer), (peer,))

    def label(self, conversation: Conversation) -> str:
        """Return what a conversation is called here."""
        if not conversation.members:
            return {EVERYBODY: "everybody", OTHERS: "others"}.get(conversation.key, "a group")
        if len(conversation.members) == 1:
            return self.name(conversation.members[0])
        for group in self._groups():
            if key_of(group.members) == conversation.key:
                return group.label
        first = ", ".join(self.name(member) for member in conversation.members[:NAMED])
        return first + (f" and {len(conversation.members) - NAMED} more" if len(conversation.members) > NAMED else "")

    def linked(self) -> set[SignId]:
        """Return to whom there is a link now."""
        return {status.sign_id for status in self._platform.peers() if status.connected}

    def _known(self) -> set[SignId]:
        found = {status.sign_id for status in self._platform.peers()}
        return {peer for peer in found if self.known(peer) and peer not in self._contacts.blocked}

    def _groups(self) -> Iterator[Destination]:
        """Give lists and circles in which there are several; our own names for them first."""
        for group in (*self._contacts.lists, *CIRCLES):
            with suppress(LocalError):  # nobody is in it
                members = self.members(group)
                if len(members) > 1:
                    yield Destination(group, members)

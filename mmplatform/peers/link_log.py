"""Writes into the log what happens to the links with all peers.

An operator reads there who was linked when, by which way, and why not any more. A peer that comes and goes all the time
has its share of lines and no more, and all strangers together have one share.
"""

import logging

from mmplatform.contacts import Contacts
from mmplatform.identity.keys import SignId
from mmplatform.links.link import Link
from mmplatform.logs import LineLimit
from mmplatform.text import escaped

log = logging.getLogger("mmplatform.peers")


class LinkLog:
    """Logs for all peers of a node; ``contacts`` says who is a stranger."""

    def __init__(self, contacts: Contacts) -> None:
        self._contacts = contacts
        self._lines = LineLimit(log)

    def linked(self, peer: SignId, link: Link) -> None:
        """Log that a link is up."""
        way = "dialled" if link.dialled else "accepted"
        self._say(peer, link, "linked", "link %d with %s is up: %s, %s", escaped(link.connection.address), way)

    def moved(self, peer: SignId, link: Link, old: Link | None, why: str) -> None:
        """Log that frames go over ``link`` from now on, and no longer over ``old``; of a first link nothing is said."""
        if old is not None:
            came_from = f"link {old.id} ({escaped(old.connection.address)})"
            text = "link %d with %s is used (%s) in place of %s: %s"
            self._say(peer, link, "moved", text, escaped(link.connection.address), came_from, why)

    def lost(self, peer: SignId, link: Link, others: int) -> None:
        """Log that a link that was up is gone; so many ``others`` are up."""
        left = f"{others} left" if others else "none left"
        self._say(peer, link, "lost", "link %d with %s is lost: %s (%s)", escaped(link.error), left)

    def failed(self, peer: SignId, address: str, reason: str) -> None:
        """Log that no link to ``peer`` can be made at ``address``, and why; the same reason is said once."""
        subject = peer if self._contacts.known(peer) else ""
        self._lines.info(subject, "failed", "%s: no link at %s: %s", peer, escaped(address), escaped(reason), peer=peer)

    def unreachable(self, peer: SignId, reason: str) -> None:
        """Log, at DEBUG as attempts go on and on, that one to reach the peer failed."""
        log.debug("%s cannot be reached: %s", peer, escaped(reason), extra={"peer": peer})

    def close(self) -> None:
        """Say what was left out so far."""
        self._lines.close()

    def _say(self, peer: SignId, link: Link, kind: str, text: str, *values: str) -> None:
        subject = peer if self._contacts.known(peer) else ""
        self._lines.info(subject, kind, text, link.id, peer, *values, link=link.id, peer=peer)

"""The events by which a handshake asks its link to act (docs/protocol/session.rst, "State machines")."""

from dataclasses import dataclass, field

from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.session.session import Session


@dataclass(frozen=True, slots=True)
class Send:
    """Asks the link to write ``frame`` to the connection."""

    frame: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Identified:
    """Says, at the responder, that the client proved who it is: answer with ``Responder.accept(resume)``, or close."""

    peer: NodeInfo
    resume: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Established:
    """Says that both sides have the keys; every later frame of the link belongs to ``session``."""

    session: Session
    peer: NodeInfo
    resume: bytes = field(repr=False)


Event = Send | Identified | Established

"""What a handshake asks of the link that runs it (docs/protocol/session.rst, "State machines")."""

from dataclasses import dataclass, field

from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.session.session import Session


@dataclass(frozen=True, slots=True)
class Send:
    """Write this frame to the connection."""

    frame: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Identified:
    """Responder only: the client proved who it is. Answer with ``Responder.accept(resume)``, or close."""

    peer: NodeInfo
    resume: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Established:
    """Both sides have the keys; every later frame of the link belongs to ``session``."""

    session: Session
    peer: NodeInfo
    resume: bytes = field(repr=False)


Event = Send | Identified | Established

"""The contract of services: they run beside a node from its start to its stop, and talk to it over the local bus.

A service is an object that the application holds::

    class Greeter(Service):
        async def start(self, host: ServiceHost) -> None:
            host.messaging.on("public.hello", lambda topic, sender, payload: f"hello {sender}")

        async def stop(self) -> None:
            pass

    greeter = Greeter()
    platform = Platform("~/.mm/alice", services=[greeter])

One that is registered under ``mmplatform.services`` can be named instead, and ``platform.service(Greeter)`` finds it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Literal, Protocol

from mmplatform.identity.keys import SignId
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.message import Scope
from mmplatform.messaging.api import API
from mmplatform.messaging.upstream import Upstream
from mmplatform.plugins.bridge import NetworkBridge
from mmplatform.plugins.host import PluginHost
from mmplatform.storage.contract import Storage


class Known(Protocol):
    """Who is known to the node."""

    def scope(self, peer: str) -> Scope:
        """Return what ``peer``, a signId, is to us: "self", "friends" or "public"."""
        ...

    def known(self, peer: str) -> bool:
        """Whether ``peer`` is a friend, a device, or somebody with a name here."""
        ...

    def name(self, peer: str) -> str:
        """Return the name given to ``peer`` here, or ""."""
        ...

    def resolve(self, text: str) -> SignId:
        """Return the signId of who has the name ``text`` here, or is that signId. Raises InvalidKey."""
        ...

    def members(self, name: str) -> list[SignId]:
        """Return the members of a list, as "@family", or of a circle, "@friends" or "@devices". Raises InvalidKey for
        what is neither, LocalError for one without members."""
        ...


class ServiceHost(PluginHost, Protocol):
    """All that a service knows of its node."""

    @property
    def messaging(self) -> API:
        """Publish, subscribe, send and request, as the application does; ``messaging.bus`` is the local bus."""
        ...

    @property
    def upstream(self) -> Upstream:
        """For a protocol of the service's own: ``upstream.attach``, ``post`` and ``ask`` move its bytes."""
        ...

    @property
    def contacts(self) -> Known:
        """Who is known here."""
        ...

    def storage(self, prefix: bytes) -> Storage:
        """Return the part of the node's storage whose keys begin with ``prefix``; keys are given without it.

        ``prefix`` ends with ``b"/"``. Raises LocalError when it belongs to the node or to another service.
        """
        ...

    def bridge(self, scheme: str, bridge: NetworkBridge | None) -> None:
        """Have requests to ``scheme:...`` asked by ``bridge``; None ends that. Raises LocalError for a scheme that
        another service has."""

    async def hand_in(self, scope: Scope, topic: str, sender: str, payload: bytes, timeout: float) -> bytes:
        """Hand a request of a peer of another network to the handlers of this node, as one of a peer of ours is.

        Args:
            scope: what the peer is to us; handlers of "public.TOPIC" hear strangers, those of "friends.TOPIC" friends.
            topic: what is asked; no control topic.
            sender: the peer as a destination, as "rmb:30".
            payload: MessagePack.
            timeout: seconds until the reply has to be there.

        Returns the reply as MessagePack. Raises NoResponders, Refused with a text for the peer, RequestFailed with the
        class and the text of what else a handler raised, or RequestTimeout.

        """
        ...

    def folder(self, name: str) -> Path:
        """Return the folder of this name in the data folder, for files of the service; it need not be there yet.

        Raises LocalError when the node has no data folder.
        """
        ...

    def mail_secrets(self) -> Iterable[bytes]:
        """Return the secret keys that mail for us may be sealed to, beside that of our boxId: those of the records that
        we have signed lately."""
        ...

    def record(self, peer: SignId) -> NodeInfo | None:
        """Return the signed record of ``peer`` that is at hand and valid, or None."""
        ...

    def records(self) -> list[NodeInfo]:
        """Return the signed records of peers that are at hand and valid."""
        ...


class Service(ABC):
    """Something that runs beside a node, which starts and stops it once.

    Subclass :class:`~mmplatform.plugins.check.Diagnosable`, too, to be examined by ``mm doctor``.
    """

    finds_peers: ClassVar[Literal["", "nearby", "anywhere"]] = ""
    """Which peers the service finds without settings: none, those on the same network, or any. ``mm run`` starts the
    services that find some, unless it is told what to start."""
    trouble = ""
    """Why the service cannot do its work at present, as far as it knows; empty when it can."""

    @abstractmethod
    async def start(self, host: ServiceHost) -> None:
        """Begin; the node is listening and its storage is open. What this raises ends the start of the node, and
        ``stop`` is not called then."""

    @abstractmethod
    async def stop(self) -> None:
        """End; no task, timer or socket stays. Not called when :meth:`start` has raised, which must clean up itself."""

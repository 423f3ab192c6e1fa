"""The contract of bridges: peers of another network are asked like peers of ours.

A service that knows another network registers a :class:`NetworkBridge` for a scheme (``ServiceHost.bridge``). From
then on ``platform.messaging.request("calc.add", "rmb:30", ...)`` asks that network, and what it asks us is handed to
the handlers of this node by ``ServiceHost.hand_in``.
"""

from typing import Protocol


class NetworkBridge(Protocol):
    """Asks peers of another network."""

    async def ask(self, peer: str, topic: str, protocol: str, payload: bytes, timeout: float) -> bytes:
        """Ask ``peer`` and return the bytes of its reply.

        Args:
            peer: the destination without its scheme, as "30" of "rmb:30".
            topic: what is asked.
            protocol: how the payload, and the reply, is encoded; "ms" is that of ``platform.messaging``.
            payload: encoded.
            timeout: seconds until the reply has to be there.

        Raises RequestTimeout, RequestFailed, NoResponders, Unreachable, InvalidKey for nobody that can be asked, or
        InvalidPayload for what the other network cannot carry.

        """
        ...

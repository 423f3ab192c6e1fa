"""The sending end of ``mm send``, in the node: one message, and what it has in common with many (``lines.py``)."""

import asyncio
from contextlib import suppress
from typing import Any, Final

from mmplatform.cli.control import Served
from mmplatform.errors import DeliveryError, InvalidKey, Unreachable
from mmplatform.identity.keys import SignId
from mmplatform.identity.names import AT
from mmplatform.message import Delivery, Priority
from mmplatform.platform import Platform
from mmplatform.text import quoted

AWAY_AFTER: Final = 3.0  # seconds without a link after which a waiting command says so
NOT_TAKEN: Final = "not taken yet: its handlers are at work, or you are not its friend yet"
TAKEN_AFTER: Final = 10.0  # seconds after which it says that the peer has not taken the message
MAILED_AFTER: Final = 15.0  # seconds, instead, while one of its relays may take the message
RELAYED: Final = "a relay keeps it until its peer is there"
KEPT_THERE: Final = "it is on the disk there until somebody listens to it"
LINKED_WITHIN: Final = 10.0  # seconds for a link, and for an answer over it, when the message is not saved
REPORT_EVERY: Final = 0.1  # seconds between two reports of progress
ALTERNATIVE: Final = "; without --realtime it would be saved, and sent later"


async def send(
    platform: Platform,
    served: Served,
    peer: str,
    topic: str,
    payload: Any,
    *,
    realtime: bool,
    expire_after: float,
    priority: str,
    wait: bool | None,
    timeout: float | None,
) -> dict[str, Any]:
    """One message. ``wait`` None: until it is delivered, or on the disk of the peer, or the peer is found to be away;
    True: until its end."""
    destination = resolve(platform, peer, topic)
    if realtime and destination != platform.sign_id:
        await connect(platform, peer, timeout or LINKED_WITHIN, ALTERNATIVE)
    delivery = await platform.messaging.send(
        topic,
        destination,
        payload,
        realtime=realtime,
        expire_after=expire_after,
        priority=Priority.parse(priority),
    )
    if realtime and destination != platform.sign_id:
        await platform.ping(destination, timeout or LINKED_WITHIN)  # what was written before it has arrived
        return {"state": delivery.state, "id": "", "reason": ""}
    await served.send({"id": delivery.id})
    if wait is not False:
        await settled(platform, delivery, wait is True, timeout)
    return {"id": delivery.id, **await ending(platform, delivery)}


async def settled(platform: Platform, delivery: Delivery, patient: bool, timeout: float | None) -> None:
    """Wait for the end; without patience only until the peer has it on its disk, or as long as there may soon be a
    link to the peer, or until a relay has it, and no longer than its handlers usually take."""
    ended = asyncio.ensure_future(end_of(delivery) if patient else received(delivery))
    loop = asyncio.get_running_loop()
    began = linked = loop.time()
    deadline = None if timeout is None else linked + timeout
    try:
        while not ended.done():
            await asyncio.wait([ended], timeout=REPORT_EVERY)
            now = loop.time()
            if link_to(platform, SignId(delivery.peer))["connected"]:
                linked = now
            if deadline is not None and now >= deadline:
                return
            if patient or deadline is not None:
                continue
            away = MAILED_AFTER if platform.parts.mailer.may_be_deposited(SignId(delivery.peer)) else AWAY_AFTER
            if now - began >= TAKEN_AFTER:
                return
            if now > linked and (delivery.state == "relayed" or now - linked >= away):
                return
    finally:
        ended.cancel()
        await asyncio.gather(ended, return_exceptions=True)


async def end_of(delivery: Delivery) -> None:
    """Wait until a message has ended, however."""
    with suppress(DeliveryError):
        await delivery


async def received(delivery: Delivery) -> None:
    """Wait until a message is on the disk of its peer, or has ended, however."""
    with suppress(DeliveryError):
        await delivery.received()


async def ending(platform: Platform, delivery: Delivery) -> dict[str, Any]:
    """The state, and why it is no better; ``connected`` where it may still become so."""
    outcome = delivery.outcome
    if outcome is not None:
        return {"state": outcome.state, "reason": outcome.reason}
    link = link_to(platform, SignId(delivery.peer))
    state = await platform.delivery(delivery.id)
    if delivery.outcome is not None:  # it ended just now
        return {"state": delivery.outcome.state, "reason": delivery.outcome.reason}
    if state == "received":
        reason = KEPT_THERE
    elif state == "relayed" and not link["connected"]:
        reason = RELAYED
    else:
        reason = NOT_TAKEN if link["connected"] else link["reason"]
    return {"state": state, "reason": reason, "connected": link["connected"]}


def link_to(platform: Platform, peer: SignId) -> dict[str, Any]:
    """Whether there is a link, and why not."""
    if peer == platform.sign_id:
        return {"connected": True, "reason": ""}
    peers = platform.parts.peers
    return {"connected": peers.linked(peer), "reason": peers.reason(peer) or "it does not answer yet"}


async def ping(platform: Platform, peer: str, timeout: float) -> float:
    """The round trip in seconds."""
    destination = resolve(platform, peer)
    await connect(platform, peer, timeout)
    try:
        return await platform.ping(destination, timeout)
    except (TimeoutError, Unreachable):
        raise Unreachable(f"{peer}: no answer within {timeout:g} s") from None


async def connect(platform: Platform, peer: str, timeout: float, advice: str = "") -> None:
    """Have a link to a peer. Raises Unreachable, which says why there is none."""
    destination = resolve(platform, peer)
    try:
        await platform.connect(destination, timeout)
    except (TimeoutError, Unreachable):
        reason = link_to(platform, destination)["reason"]
        raise Unreachable(f"{peer} cannot be reached: {reason}{advice}") from None


def resolve(platform: Platform, peer: str, topic: str = "") -> SignId:
    """The signId of a peer by its name or signId, to whom ``topic`` shall go; raises InvalidKey."""
    try:
        return platform.contacts.resolve(peer)
    except InvalidKey as error:
        if peer.startswith(AT):
            raise
        if topic and platform.contacts.is_destination(topic):
            raise InvalidKey(f"{error}; {quoted(topic)} is one: the peer comes first, then the topic") from None
        raise InvalidKey(f"{error}; mm add TICKET --name NAME makes a peer known") from None

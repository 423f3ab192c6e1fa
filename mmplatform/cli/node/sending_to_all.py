"""The sending end of ``mm send @family``, in the node: one message to all members of a list or a circle."""

import asyncio
from contextlib import suppress
from typing import Any

from mmplatform.cli.control import Served
from mmplatform.cli.node.sending import LINKED_WITHIN, ending, link_to, settled
from mmplatform.errors import MMError
from mmplatform.identity.keys import SignId
from mmplatform.message import Delivery, Priority
from mmplatform.platform import Platform


async def send_to_all(
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
    """One message to each member of ``peer``, a list or a circle; the result has an end for each. ``wait`` as for one
    peer: see :func:`mmplatform.cli.node.sending.send`."""
    if realtime:
        return await _send_realtime(platform, peer, topic, payload, timeout or LINKED_WITHIN)
    delivery = await platform.messaging.send(
        topic, peer, payload, expire_after=expire_after, priority=Priority.parse(priority)
    )
    each = list(delivery.deliveries.values())
    await served.send({"ids": [one.id for one in each]})
    if wait is not False:
        await asyncio.gather(*(settled(platform, one, wait is True, timeout) for one in each))
    return {"members": [_member(platform, one) | {"id": one.id, **await ending(platform, one)} for one in each]}


async def _send_realtime(platform: Platform, group: str, topic: str, payload: Any, timeout: float) -> dict[str, Any]:
    """Have a link to each member first, as far as there can be one, and an answer behind the message."""
    members = platform.contacts.members(group)
    await asyncio.gather(*(platform.connect(member, timeout) for member in members), return_exceptions=True)
    delivery = await platform.messaging.send(topic, group, payload, realtime=True)
    sent = [one for one in delivery.deliveries.values() if one.state == "sent"]
    with suppress(MMError):  # what was written before it has arrived
        await asyncio.gather(*(platform.ping(one.peer, timeout) for one in sent))
    return {"members": [_realtime(platform, one) for one in delivery.deliveries.values()]}


def _realtime(platform: Platform, delivery: Delivery) -> dict[str, Any]:
    reason = "" if delivery.state == "sent" else link_to(platform, SignId(delivery.peer))["reason"]
    return _member(platform, delivery) | {"id": "", "state": delivery.state, "reason": reason}


def _member(platform: Platform, delivery: Delivery) -> dict[str, Any]:
    return {"peer": delivery.peer, "name": platform.contacts.name(delivery.peer)}

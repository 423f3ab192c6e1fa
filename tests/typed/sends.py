"""Sends: what is sent to one peer and to several has one type to await, and says more where the destination does."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from typing import assert_type

from mmplatform import Delivery, GroupDelivery, ListName, Outcome, Platform, SignId


async def to_one(platform: Platform, bob: SignId) -> None:
    send = platform.messaging.send
    assert_type(await send("chat", bob, "hi"), Delivery)
    assert_type(await send("chat", "bob", "hi", priority="high", realtime=True), Delivery)
    assert_type(await send("chat", payload="hi"), Delivery)
    assert_type(await platform.send(destination="bob", topic="chat"), Delivery)


async def to_several(platform: Platform, bob: SignId) -> None:
    send = platform.messaging.send
    family = await platform.contacts.lists.make("@family", bob)
    assert_type(await send("chat", family, "dinner"), GroupDelivery)
    assert_type(await send("chat", ListName("@band"), "dinner", expire_after=60.0), GroupDelivery)
    assert_type(await send("chat", "@friends", "dinner"), GroupDelivery)
    assert_type(await send("chat", "@devices", "dinner"), GroupDelivery)
    for name in platform.contacts.lists:
        assert_type(await send("chat", name, "dinner"), GroupDelivery)


async def to_whom_a_text_says(platform: Platform, destination: str) -> None:
    """Nothing that can be done with it needs to know whether there are several."""
    delivery = await platform.messaging.send("chat", destination, "dinner")
    await delivery.received()
    assert_type(await delivery, Outcome)
    assert_type(await delivery.cancel(), list[str])
    for peer, each in delivery.deliveries.items():
        print(peer, each.state, await each)


async def mistyped(platform: Platform) -> None:
    delivery: GroupDelivery = await platform.messaging.send("chat", "@family")  # type: ignore[assignment]
    await platform.messaging.send("chat", "@friends", priority="urgent")  # type: ignore[call-overload]
    await platform.messaging.send("chat", "bob", expires=3)  # type: ignore[call-overload]
    platform.messaging.send("chat", "bob", 1)  # type: ignore[unused-coroutine]
    print(delivery)

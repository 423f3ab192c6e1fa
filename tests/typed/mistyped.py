"""A program that mistypes names: each line has to fail the type check, else its ignore is unused, which fails, too."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from mmplatform import Delivery, Message, Outcome, Platform


async def mistyped(platform: Platform, delivery: Delivery) -> None:
    platform.on("conected", print)  # type: ignore[call-overload]
    await platform.messaging.send("chat", "bob", priority="urgent")  # type: ignore[call-overload]
    await platform.messaging.send("chat", "bob", priority=2)  # type: ignore[call-overload]
    await platform.add("bob", circle="friend")  # type: ignore[arg-type]
    await platform.contacts.move("bob", "family")  # type: ignore[arg-type]
    print(delivery.state == "recieved")  # type: ignore[comparison-overlap]
    print(await platform.delivery(delivery.id) == "lost")  # type: ignore[comparison-overlap]
    print(Outcome("cancled"))  # type: ignore[arg-type]
    for peer in platform.peers():
        print(peer.scope == "freinds")  # type: ignore[comparison-overlap]
        for link in peer.links:
            print(link.state == "up")  # type: ignore[comparison-overlap]
    Platform(hold=["family"])  # type: ignore[list-item]


def heard(topic: str, sender: str, payload: object, message: Message) -> None:
    print(message.kind == "durabel")  # type: ignore[comparison-overlap]
    print(message.scope == "freinds")  # type: ignore[comparison-overlap]


async def well_typed(platform: Platform, delivery: Delivery) -> None:
    platform.on("connection", print)
    await platform.messaging.send("chat", "bob", priority="high")
    await platform.add("bob", circle="friends")
    await platform.contacts.move("bob", "devices")
    if delivery.state == "received" or await platform.delivery(delivery.id) == "unknown":
        print(Outcome("cancelled"))

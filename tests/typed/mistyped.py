"""A program that mistypes names: each line has to fail the type check, else its ignore is unused, which fails, too."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from mmplatform import Delivery, Outcome, Platform


async def mistyped(platform: Platform, delivery: Delivery) -> None:
    platform.on("conected", print)  # type: ignore[call-overload]
    await platform.messaging.send("chat", "bob", priority="urgent")  # type: ignore[call-overload]
    await platform.messaging.send("chat", "bob", priority=2)  # type: ignore[call-overload]
    await platform.add("bob", circle="friend")  # type: ignore[arg-type]
    await platform.contacts.move("bob", "family")  # type: ignore[arg-type]
    print(delivery.state == "recieved")  # type: ignore[comparison-overlap]
    print(await platform.delivery(delivery.id) == "lost")  # type: ignore[comparison-overlap]
    print(Outcome("cancled"))  # type: ignore[arg-type]


async def well_typed(platform: Platform, delivery: Delivery) -> None:
    platform.on("connection", print)
    await platform.messaging.send("chat", "bob", priority="high")
    await platform.add("bob", circle="friends")
    await platform.contacts.move("bob", "devices")
    if delivery.state == "received" or await platform.delivery(delivery.id) == "unknown":
        print(Outcome("cancelled"))

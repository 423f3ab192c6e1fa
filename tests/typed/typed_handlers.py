"""Typed payloads: a handler of another type has to fail the type check, else its ignore is unused, which fails, too."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple, TypedDict

from mmplatform import Message, Platform
from mmplatform.messaging.middleware import Kind, Next, Post


@dataclass
class Reading:
    celsius: float


class Place(TypedDict):
    name: str


class Point(NamedTuple):
    x: int


def take_reading(topic: str, sender: str, reading: Reading) -> None: ...
async def take_message(topic: str, sender: str, reading: Reading, message: Message) -> float:
    return reading.celsius


def take_object(topic: str, sender: str, payload: object) -> None: ...
def take_place(topic: str, sender: str, place: Place) -> None: ...
def take_point(topic: str, sender: str, point: Point) -> None: ...
def take_list(topic: str, sender: str, readings: list[Reading]) -> None: ...
def take_decimal(topic: str, sender: str, amount: Decimal) -> None: ...
def take_either(topic: str, sender: str, payload: int | str) -> None: ...


def well_typed(platform: Platform) -> None:
    on, once = platform.messaging.on, platform.messaging.once
    on("friends.reading", Reading, take_reading)
    on("friends.reading", Reading, take_message, concurrency=4)
    on("friends.reading", Reading, take_object, max_size=100)
    on("friends.place", Place, take_place)
    on("friends.point", Point, take_point)
    on("friends.list", list[Reading], take_list)
    on("friends.pay", Decimal, take_decimal)
    on("friends.either", int | str, take_either)
    on("friends.reading", Reading)(take_reading)
    once("friends.reading", Reading, take_message)
    once("friends.reading", Reading, retries=0)(take_message)

    @on("friends.reading", Reading, ordered=True)
    async def reading(topic: str, sender: str, payload: Reading) -> str:
        return f"{payload.celsius}"

    @on("friends.plain")
    def plain(topic: str, sender: str, payload: Any) -> None: ...

    on("friends.plain", plain)
    print(reading, platform.messaging.off("friends.reading", take_reading))


def mistyped(platform: Platform) -> None:
    on, once = platform.messaging.on, platform.messaging.once
    on("friends.reading", Reading, take_place)  # type: ignore[arg-type]
    on("friends.reading", Reading)(take_place)  # type: ignore[arg-type]
    on("friends.list", list[Reading], take_reading)  # type: ignore[arg-type]
    on("friends.reading", Reading, take_reading, speed=1)  # type: ignore[call-overload]
    on("friends.reading", take_reading, queue="long")  # type: ignore[call-overload]
    once("friends.reading", Place, take_reading)  # type: ignore[arg-type]
    once("friends.reading", Reading, queue=1)  # type: ignore[call-overload]

    @on("friends.reading", Reading)  # type: ignore[arg-type]
    async def reading(topic: str, sender: str, payload: Place) -> None: ...

    print(reading)


async def replies(platform: Platform) -> None:
    request = platform.messaging.request
    reading: Reading = await request("reading", "bob", returns=Reading)
    readings: list[Reading] = await request("readings", "bob", timeout=5.0, returns=list[Reading])
    either: int | str = await request("either", "bob", returns=int | str)
    plain: str = await request("plain", "bob")
    wrong: Place = await request("reading", "bob", returns=Reading)  # type: ignore[arg-type]
    print(reading, readings, either, plain, wrong)


def middleware(platform: Platform) -> None:
    @platform.messaging.around_handlers
    async def around(topic: str, sender: str, payload: Any, message: Message, following: Next) -> Any:
        return await following(payload)

    @platform.messaging.around_sends
    async def sending(topic: str, destination: str, payload: Any, kind: Kind, following: Post) -> Any:
        return await following(payload)

    def four(topic: str, sender: str, payload: Any, following: Next) -> Any: ...

    platform.messaging.around_handlers(four)  # type: ignore[type-var]
    platform.messaging.around_sends(four)  # type: ignore[type-var]
    print(around, sending)

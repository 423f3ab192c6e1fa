"""Programs without an event loop: what their calls return has types as well."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, assert_type

from mmplatform import Outcome, sync
from mmplatform.sync import BlockingDelivery


@dataclass
class Measured:
    celsius: float


def calls(platform: sync.Platform) -> None:
    assert_type(platform.request_many("replies", "bob", returns=Measured), Generator[Measured, None, None])
    either: Generator[int | str, None, None] = platform.request_many("replies", "bob", returns=int | str)
    assert_type(platform.request_many("replies", "bob"), Generator[Any, None, None])
    assert_type(platform.request("reply", "bob", returns=Measured), Measured)
    delivery = platform.send("chat", "@friends", "dinner")
    print(either)
    assert_type(delivery.deliveries, Mapping[str, BlockingDelivery])
    assert_type([each.wait(5) for each in delivery.deliveries.values()], list[Outcome])
    assert_type(delivery.cancel(), list[str])

"""The DHT between real hosts without multicast: whoever has the key finds the peer."""

import time

import pytest

from tests.netns.lab import Lab, needs
from tests.netns.told import Told

pytestmark = [needs(), pytest.mark.slow]
SERVICES = ("kademlia",)


def test_a_signid_is_enough_when_both_know_one_seed() -> None:
    with Lab("a", "b", "c", multicast=False) as lab:
        b = Told(lab, "b", services=SERVICES)
        a = Told(lab, "a", "--add", b.ticket, "--when-told", services=SERVICES)
        c = Told(lab, "c", "--add", b.ticket, services=SERVICES)
        began = time.monotonic()
        a.tell(c.sign_id)
        heard = c.until("heard", sender=a.sign_id)
        assert heard["at"] - began < 2.0
        delivered = a.until("delivered", to=c.sign_id)
        assert delivered["at"] - began < 2.0
        found = a.until("peers")
        assert found["foundBy"][c.sign_id] == "dht"
        print(f"heard {heard['at'] - began:.2f} s after it was sent")

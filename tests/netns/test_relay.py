"""Two nodes behind symmetric NATs, which nothing can punch a hole through, and a relay both can dial."""

import pytest

from tests.netns.lab import Lab, needs
from tests.netns.relays import start_relay
from tests.netns.told import Told

pytestmark = [needs("nft"), pytest.mark.slow]


QUESTIONS = 2000


NO_PUNCHING = ("--transport", "tcp", "--transport", "relay")  # attempts that must fail would be in the figures


def test_request_and_reply_between_two_symmetric_nats() -> None:
    with Lab("a", "b", "relay", "c", "d", nats={"a": "symmetric", "b": "symmetric"}) as lab:
        address = start_relay(lab, "relay")
        b = Told(lab, "b", "--relay", address, *NO_PUNCHING, services=())
        a = Told(lab, "a", "--relay", address, "--add", b.ticket, "--when-told", *NO_PUNCHING, services=())
        a.tell(f"ask {b.sign_id} {QUESTIONS}")
        through = a.until("answered")
        assert through["over"].startswith("relay+ws")
        a.tell(b.sign_id)
        assert b.until("heard", sender=a.sign_id)
        a.until("delivered", to=b.sign_id)
        c = Told(lab, "c", services=())
        d = Told(lab, "d", "--add", c.ticket, "--when-told", services=())
        d.tell(f"ask {c.sign_id} {QUESTIONS}")
        direct = d.until("answered")
        assert direct["over"].startswith("tcp")
        print(
            f"p50 {through['p50'] * 1e6:.0f} us through the relay (the first {through['first'] * 1e3:.0f} ms),"
            f" {direct['p50'] * 1e6:.0f} us direct: {through['p50'] / direct['p50']:.2f} x"
        )

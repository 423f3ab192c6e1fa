"""A node behind a NAT that lets nobody in, and a router that maps ports when it is asked: miniupnpd, a real one."""

import signal
from pathlib import Path

import pytest

from tests.netns.lab import Lab, needs
from tests.netns.told import Told
from tests.support.waiting import wait_until

pytestmark = [needs("nft", "miniupnpd"), pytest.mark.slow]

CHAINS = """
table inet filter {
  chain miniupnpd { }
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
  chain forwarded {
    type filter hook forward priority 0; policy accept;
    jump miniupnpd
  }
  chain coming {
    type nat hook prerouting priority -100; policy accept;
    jump prerouting_miniupnpd
  }
  chain going {
    type nat hook postrouting priority 100; policy accept;
    jump postrouting_miniupnpd
  }
}
"""
SETTINGS = """
ext_ifname=eth0
listening_ip=inside
enable_natpmp={natpmp}
enable_upnp=yes
secure_mode=yes
uuid=f95c31f4-83b6-4760-9ccd-ab20cf0602a9
upnp_table_name=filter
upnp_nat_table_name=filter
"""


def mappings(lab: Lab) -> str:
    """The rules that miniupnpd has made of what it was asked for."""
    listed = lab.on_router("a", "nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd")
    assert listed.stdout is not None
    return str(listed.stdout.read())


@pytest.mark.parametrize("natpmp", ["yes", "no"])
def test_who_asks_for_a_port_is_dialled_through_the_nat(natpmp: str, tmp_path: Path) -> None:
    settings, chains = tmp_path / "miniupnpd.conf", tmp_path / "chains.nft"
    settings.write_text(SETTINGS.format(natpmp=natpmp))
    chains.write_text(CHAINS)
    with Lab("a", "b", internet=True, nats={"a": "port-restricted"}) as lab:
        assert lab.on_router("a", "nft", "-f", str(chains)).wait(10) == 0
        with (tmp_path / "said").open("w") as said:
            lab.on_router("a", "miniupnpd", "-d", "-f", str(settings), "-P", str(tmp_path / "pid"), stderr=said)
            wait_until(lambda: "HTTP listening" in (tmp_path / "said").read_text())
            a = Told(lab, "a", "--map-port", services=())
            outside = f"tcp://{lab.address('a')}:"
            own = a.until("own")
            while not any(address.startswith(outside) for address in own["listening"]):
                own = a.until("own")
            b = Told(lab, "b", "--add", own["ticket"], "--when-told", services=())
            b.tell(a.sign_id)
            assert a.until("heard", sender=b.sign_id)
            assert "dnat" in mappings(lab)
            a.process.send_signal(signal.SIGINT)
            wait_until(lambda: "dnat" not in mappings(lab))

"""Where a node listens that is told nothing: on hosts with IPv6 alone, with both, and with twenty networks."""

import pytest

from mmplatform.identity.nodeinfo import MAX_ADDRESSES
from tests.netns.lab import Lab, needs
from tests.netns.told import Told

pytestmark = [needs(), pytest.mark.slow]

DEFAULT = ("--listen", "default", "--when-told")


def hears(host: Told, sender: Told) -> None:
    sender.tell(host.sign_id)
    assert host.until("heard", sender=sender.sign_id)
    sender.until("delivered", to=host.sign_id)


def test_ipv6_alone_and_both() -> None:
    with Lab("six", "both", "four") as lab:
        lab.run("six", "ip", "-4", "addr", "flush", "dev", "eth0")
        lab.run("four", "sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=1")
        both = Told(lab, "both", *DEFAULT, services=())
        six = Told(lab, "six", *DEFAULT, "--add", both.ticket, services=())
        four = Told(lab, "four", *DEFAULT, "--add", both.ticket, services=())
        [port] = {address.rpartition(":")[2] for address in both.listening}
        assert set(both.listening) == {f"tcp://{lab.address('both')}:{port}", f"tcp://[fd77::2]:{port}"}
        assert [address.rpartition(":")[0] for address in six.listening] == ["tcp://[fd77::1]"]
        assert [address.rpartition(":")[0] for address in four.listening] == [f"tcp://{lab.address('four')}"]
        hears(both, six)
        hears(both, four)
        hears(six, both)
        hears(four, both)


def test_the_address_of_the_default_route_is_among_the_sixteen() -> None:
    with Lab("docker", "other") as lab:
        for number in range(20):
            lab.run("docker", "ip", "link", "add", f"a{number}", "type", "veth", "peer", "name", f"b{number}")
            lab.run("docker", "ip", "addr", "add", f"172.{16 + number % 16}.{number}.1/24", "dev", f"a{number}")
            lab.run("docker", "ip", "link", "set", f"a{number}", "up")
        lab.run("docker", "ip", "link", "add", "zz", "type", "bridge")  # listed last: the newest
        lab.run("docker", "ip", "addr", "flush", "dev", "eth0")
        lab.run("docker", "ip", "link", "set", "eth0", "master", "zz")
        lab.run("docker", "ip", "addr", "add", f"{lab.address('docker')}/24", "dev", "zz")
        lab.run("docker", "ip", "link", "set", "zz", "up")
        lab.run("docker", "ip", "route", "add", "default", "via", lab.address("other"))
        docker = Told(lab, "docker", *DEFAULT, services=())
        assert len(docker.listening) == MAX_ADDRESSES
        assert docker.listening[0].startswith(f"tcp://{lab.address('docker')}:")
        other = Told(lab, "other", *DEFAULT, "--add", docker.ticket, services=())
        hears(docker, other)

"""What this host is attached to."""

from ipaddress import ip_address, ip_network

from mmplatform.interfaces import here


def test_this_host() -> None:
    assert ip_address("127.0.0.1") in here().own
    assert ip_network("127.0.0.0/8") in here().networks
    assert here() == here()

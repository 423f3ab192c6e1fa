"""Hosts as the rule for addresses sees them."""

from ipaddress import ip_interface

from mmplatform.addresses import Here


def here(*interfaces: str) -> Here:
    """A host with these addresses, each with the length of its network, as in 10.0.0.2/24."""
    found = [ip_interface(interface) for interface in interfaces]
    return Here(frozenset(one.ip for one in found), tuple(one.network for one in found))

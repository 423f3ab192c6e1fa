"""The kinds of NAT a lab builds, as nftables rulesets of a router with ``inside`` and ``eth0`` (the outside).

Unsolicited packets must be dropped at the router itself, or they make a conntrack entry that moves the mapping.
"""

from typing import Final

_COMMON: Final = """
table ip mm {{
  set seen {{ type ipv4_addr; flags dynamic, timeout; timeout 120s; size 65535; }}
  chain input {{ type filter hook input priority 0; policy accept;
    iifname "eth0" ct state new,invalid drop
  }}
  chain forward {{ type filter hook forward priority 0; policy drop;
    {forward}
    iifname "inside" accept
    iifname "eth0" ct state established,related accept
    iifname "eth0" ct status dnat accept
  }}
  chain prerouting {{ type nat hook prerouting priority -100; policy accept;
    {prerouting}
  }}
  chain postrouting {{ type nat hook postrouting priority 100; policy accept;
    oifname "eth0" masquerade {masquerade}
  }}
}}
"""

KINDS: Final = {
    # endpoint-independent mapping, anybody may answer
    "full-cone": {"prerouting": 'iifname "eth0" udp dport 1024-65535 dnat to {host}'},
    # endpoint-independent mapping, only addresses that were sent to may answer
    "address-restricted": {
        "forward": 'iifname "inside" add @seen {{ ip daddr }}',
        "prerouting": 'iifname "eth0" ip saddr @seen udp dport 1024-65535 dnat to {host}',
    },
    # endpoint-independent mapping, only address and port that were sent to may answer
    "port-restricted": {},
    # another mapping for each destination
    "symmetric": {"masquerade": "fully-random"},
}


def ruleset(kind: str, host: str) -> str:
    """What ``nft -f`` takes, for a router in front of ``host`` (its IPv4 address inside)."""
    parts = {"forward": "", "prerouting": "", "masquerade": ""} | KINDS[kind]
    return _COMMON.format(**{name: text.format(host=host) for name, text in parts.items()})

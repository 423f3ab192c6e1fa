"""Where others can reach this node."""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from mmplatform.identity.nodeinfo import MAX_ADDRESSES
from mmplatform.platform import Platform
from mmplatform.plugins.check import Check, fault, ok, warning

SUBJECT: Final = "reached from elsewhere"
LEFT_OUT: Final = "addresses"


def examine(platform: Platform) -> list[Check]:
    """Check our addresses: behind a NAT, only relays and links made over them lead here; some may have no room."""
    left_out = platform.parts.own_record.left_out
    if not left_out:
        return _reached(platform)
    text = f"{MAX_ADDRESSES} are in our record, which has no room for {', '.join(left_out)}"
    return [*_reached(platform), ok(LEFT_OUT, text)]


def _reached(platform: Platform) -> list[Check]:
    mine = platform.directory.own_record
    addresses = mine.connection_info if mine is not None else ()
    relays = [address for address in addresses if platform.parts.mailer.carries(address)]
    candidates = platform.parts.dialer.candidates(addresses)
    direct = [c.address for c in candidates if not c.signalled and c.address not in relays]
    shown = ", ".join(direct) or "nowhere"
    if relays:
        return [ok(SUBJECT, f"through {len(relays)} relay{'s' * (len(relays) > 1)}, and listens on {shown}")]
    if not direct:
        return [
            fault(
                SUBJECT, "no-relay", "it listens nowhere and has no relay: nobody can reach it",
                "run it with --relay ADDRESS, or with --listen default",
            )
        ]  # fmt: skip
    if any(_is_public(address) for address in direct):
        return [ok(SUBJECT, f"it listens on {shown}")]
    return [
        warning(
            SUBJECT, "no-relay",
            f"it listens on {shown}, which only hosts on the same network can dial, and no relay is configured",
            "name a relay that both sides can dial: mm run --relay relay+wss://HOST/KEY (mm relay runs one)",
        )
    ]  # fmt: skip


def _is_public(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return bool(host)  # a host name, which somebody chose to be reached by

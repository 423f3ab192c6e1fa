"""Limits the rates of connections and of addresses: token buckets that may fall into debt. Sans-I/O."""

from typing import Final, NamedTuple

from mm_relay.doors.limits import network
from mmplatform.token_bucket import TokenBucket

ADDRESS_BURST: Final = 0.1  # of an address: all that a stranger may say at once, and others wait for meanwhile
SHARE: Final = 256  # items a second that a connection always has of its address, however many share that
SHARE_BYTES: Final = 256 * 1024


class RateLimits(NamedTuple):
    """Tokens a second, 0 for no limit."""

    items: int = 0  # of a connection
    bytes: int = 0
    address_items: int = 0  # of all connections of an address
    address_bytes: int = 0


class ConnectionRates:
    """The rates of all connections. An address is an IPv4 host or an IPv6 network of 64 bits.

    Above the rate of an address, those of its connections wait that take more than an equal share of it.
    """

    def __init__(self, limits: RateLimits) -> None:
        self._limits = limits
        self._addresses: dict[str, _Address] = {}

    def meter(self, ip: str, now: float) -> "Meter":
        """Return the account of a new connection from ``ip``, to be closed with it."""
        name, limits = network(ip), self._limits
        address = self._addresses.get(name)
        if address is None:
            address = self._addresses[name] = _Address(limits, now)
        address.connections += 1
        return Meter(limits, address, now)

    def close(self, meter: "Meter", ip: str, now: float) -> None:
        """End an account; what an address has spent is remembered until it is paid."""
        meter.address.connections -= 1
        if not meter.address.connections and not meter.address.owes(now):
            self._addresses.pop(network(ip), None)
        if len(self._addresses) > _REMEMBERED:
            self._addresses = {name: one for name, one in self._addresses.items() if one.connections or one.owes(now)}


_REMEMBERED: Final = 4096  # addresses above which those that owe nothing are forgotten


class _Address:
    __slots__ = ("bytes", "connections", "items", "limits")

    def __init__(self, limits: RateLimits, now: float) -> None:
        self.limits, self.connections = limits, 0
        self.items = TokenBucket(limits.address_items, now, ADDRESS_BURST)
        self.bytes = TokenBucket(limits.address_bytes, now, ADDRESS_BURST)

    def owes(self, now: float) -> bool:
        return self.spend(0, 0, now)

    def spend(self, items: int, size: int, now: float) -> bool:
        """Spend; return whether there is a debt now."""
        owed = self.items.spend(items, now) + self.bytes.spend(size, now) > 0
        if owed:
            self.items.forgive()
            self.bytes.forgive()
        return owed


class Meter:
    """The account of one connection."""

    __slots__ = ("_bytes", "_items", "_share_bytes", "_share_items", "_shared_by", "address")

    def __init__(self, limits: RateLimits, address: _Address, now: float) -> None:
        self.address = address
        self._items, self._bytes = TokenBucket(limits.items, now), TokenBucket(limits.bytes, now)
        self._shared_by = 0
        self._share_items = TokenBucket(limits.address_items, now, burst=0.0)
        self._share_bytes = TokenBucket(limits.address_bytes, now, burst=0.0)

    def spend(self, items: int, size: int, now: float) -> float:
        """Spend items and bytes; return the seconds to wait before the connection is read again."""
        wait = max(self._items.spend(items, now), self._bytes.spend(size, now))
        address = self.address
        if address.connections != self._shared_by and address.connections:
            self._share(address)
        owed = address.spend(items, size, now)
        share = max(self._share_items.spend(items, now), self._share_bytes.spend(size, now))
        if owed:
            return max(wait, share)
        self._share_items.forgive()
        self._share_bytes.forgive()
        return wait

    def _share(self, address: _Address) -> None:
        self._shared_by, limits = address.connections, address.limits
        if limits.address_items:
            self._share_items.change(max(limits.address_items / self._shared_by, SHARE))
        if limits.address_bytes:
            self._share_bytes.change(max(limits.address_bytes / self._shared_by, SHARE_BYTES))

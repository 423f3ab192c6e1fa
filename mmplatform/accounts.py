"""Counts what each peer, each network and all strangers together hold, so that nobody lives on the share of another.

An account counts in the account above it, too: what is held for a link counts for its peer, its network and all
strangers. What cannot be held in full is refused, unless somebody who can give way holds it: the account that was
idle for longest, of the party that holds most.
"""

import ipaddress
from collections.abc import Callable
from functools import lru_cache
from typing import Final
from weakref import WeakValueDictionary

from mmplatform.errors import ProtocolError
from mmplatform.token_bucket import TokenBucket

MIB: Final = 1024 * 1024
KNOWN: Final = 256 * MIB  # bytes held for all devices and friends
STRANGERS: Final = 80 * MIB  # bytes held for everybody else
FRIEND: Final = KNOWN // 2  # bytes of it held for one device or friend
ASKED: Final = 144 * MIB  # bytes held of replies of strangers whom we asked, half of it for one: a reply has 64 MiB
NETWORK: Final = STRANGERS // 8  # bytes of it held for the strangers of one network (a /24, a /64, a relay)
DISK_RATE: Final = MIB  # bytes a second that are written for strangers, beyond those of messages to them
NOTED: Final = 8  # times that what is noted of strangers counts: a message of few bytes rewrites all that was noted
DISK_BURST: Final = 2.0  # seconds of that at once, after a quiet while
NO_LIMIT: Final = 1 << 62  # of an account that only those above it bound
RELAYED: Final = "by "  # begins the network of those who come over a relay


class Account:
    """What is held for somebody, in bytes or pieces, of at most ``limit``; all of it counts in ``above``, too.

    ``give_way``, where what is held can come again, gives all of it back at once; it is called from within the
    ``charge`` of another account.
    """

    __slots__ = ("__weakref__", "_idlest_first", "above", "give_way", "limit", "used")

    def __init__(self, limit: int, above: "Account | None" = None, give_way: Callable[[], None] | None = None) -> None:
        self.limit, self.above, self.give_way = limit, above, give_way
        self.used = 0
        # Of all accounts that count in the same uppermost one: those that hold something and can give way.
        self._idlest_first: dict[Account, None] = above._idlest_first if above is not None else {}

    @property
    def over(self) -> bool:
        """Whether more than half of the room is taken, here or in an account above: the time to slow down."""
        return any(account.used > account.limit // 2 for account in self._chain())

    def charge(self, size: int) -> None:
        """Hold ``size`` more; others give way where they can. Raises ProtocolError("overloaded"), and holds no more."""
        account: Account | None = self
        while account is not None:
            if account.used + size > account.limit:
                self._make_room(account, size)
            account = account.above
        account = self
        while account is not None:
            account.used += size
            account = account.above
        if self.give_way is not None and self.used:
            self._idlest_first.pop(self, None)
            self._idlest_first[self] = None

    def credit(self, size: int) -> None:
        """Hold ``size`` less."""
        account: Account | None = self
        while account is not None:
            account.used -= size
            account = account.above
        if not self.used:
            self._idlest_first.pop(self, None)

    def move(self, above: "Account") -> None:
        """Count in ``above`` from now on, even where that has no room: what is held is held. Nobody counts in this."""
        used, can_give_way = self.used, self in self._idlest_first
        self.credit(used)
        self.above, self._idlest_first = above, above._idlest_first
        for account in self._chain():
            account.used += used
        if can_give_way:
            self._idlest_first[self] = None

    def _make_room(self, full: "Account", size: int) -> None:
        """Have others give way until ``full`` has room for ``size``. Raises ProtocolError("overloaded")."""
        while full.used + size > full.limit:
            idlest = None if self.used + size > full.limit else self._idlest(full)
            if idlest is None or idlest.give_way is None:
                raise ProtocolError("overloaded", f"{full.used} bytes are held, {full.limit} may be")
            idlest.give_way()
            self._idlest_first.pop(idlest, None)

    def _idlest(self, full: "Account") -> "Account | None":
        """Who gives way when ``full`` is: the idlest account of its largest party, or of its own if it is one."""
        held = [account for account in self._idlest_first if full in account._chain()]
        if full.above is None and held:
            largest = max((account._party() for account in [*held, self]), key=lambda party: party.used)
            held = [account for account in held if account._party() is largest]
        return next((account for account in held if account is not self), None)

    def _chain(self) -> list["Account"]:
        found: list[Account] = []
        account: Account | None = self
        while account is not None:
            found.append(account)
            account = account.above
        return found

    def _party(self) -> "Account":
        return self._chain()[-2:][0]


class Shares:
    """The accounts of the parties that share ``limit``, of which each party has ``share`` at most.

    An account is made when somebody asks for it, and is gone with the last reference: whoever charges it keeps it.
    """

    def __init__(self, limit: int, share: int) -> None:
        self.total = Account(limit)
        self._share = share
        self._accounts: WeakValueDictionary[tuple[str, ...], Account] = WeakValueDictionary()

    def of(self, *party: str) -> Account:
        """The account of a party: a network, a network and a peer of it, or a peer."""
        account = self._accounts.get(party)
        if account is None:
            above = self.of(*party[:-1]) if len(party) > 1 else self.total
            account = self._accounts[party] = Account(self._share, above)
        return account

    def __len__(self) -> int:
        return len(self._accounts)


class Accounts:
    """What is held for everybody, in bytes: devices and friends have room of their own, which no stranger takes, and so
    have the replies of those whom we asked.

    ``disk`` is what may be written for strangers, by the clock of the loop; above it they wait, and share transactions.
    """

    def __init__(self) -> None:
        self.known = Shares(KNOWN, FRIEND)
        self.strangers = Shares(STRANGERS, NETWORK)
        self.asked = Shares(ASKED, ASKED // 2)
        self.disk = TokenBucket(DISK_RATE, 0.0, DISK_BURST)

    def of(self, peer: str, network: str, known: bool) -> Account:
        """The account of a peer: of a stranger it counts in that of its network.

        Args:
            peer: its signId; "" while it has not proven one.
            network: where it is, as :func:`network_of` says.
            known: whether it is a friend or a device.

        """
        return self.known.of(peer) if known else self.strangers.of(network, peer)


def network_of(address: str, relayed: bool = False) -> str:
    """Return the network that an address belongs to, as whoever has one address there has them all.

    It is the /24 of an IPv4 address, the /64 of an IPv6 address, and any other host by its name. Of who comes over a
    relay only the relay is known: all who use it are told apart from those of the relay's own network.
    """
    host = address.partition("://")[2].partition("/")[0].rpartition("@")[2]
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    return (RELAYED if relayed else "") + network_of_host(host or address)


@lru_cache(maxsize=4096)
def network_of_host(host: str) -> str:
    """Return the network of an IP address: its /24, or its /64. Any other host is one by its name."""
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    bits = 24 if ip.version == 4 else 64
    return str(ipaddress.ip_network((ip, bits), strict=False))

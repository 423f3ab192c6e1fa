"""Counts what of one peer waits for handlers, on the account of that peer: who holds much is not read for a while."""

from collections.abc import Callable
from typing import Final

from mmplatform.accounts import Account
from mmplatform.errors import ProtocolError

PORTION: Final = 64 * 1024  # bytes that are charged at once, so that most messages cost an addition
EACH: Final = 1024  # bytes that a message takes beside its payload, about: while it waits, or for another try
TOLERATED: Final = 2 * PORTION  # bytes that a peer may hold whatever others on its account hold


class HeldByHandlers:
    """The messages, requests and events of one peer whose handlers are not done. ``less()`` is called when they are
    few again after they were ``crowded``."""

    def __init__(self, account: Account, less: Callable[[], None]) -> None:
        self.bytes = 0
        self.overloaded = False  # whether there was no room for all on the account
        self._account, self._less = account, less
        self._charged = 0
        self._untold = 0
        self._crowded = False

    @property
    def party(self) -> object:
        """With whom the peer shares its room: the same for all strangers of a network."""
        return self._account.above or self._account

    @property
    def crowded(self) -> bool:
        """Whether the peer should send no more for now: it holds some, and its account is half full."""
        self._crowded = self.bytes > TOLERATED and self._account.over
        return self._crowded

    def hold(self, size: int) -> None:
        """Count a message of ``size`` bytes."""
        self.bytes += size + EACH
        if self.bytes > self._charged:
            self._charge()

    def free(self, size: int) -> None:
        """Count it no more."""
        self.bytes -= size + EACH
        if self.bytes + 2 * PORTION <= self._charged:
            self._credit()

    def hold_ending(self) -> None:
        """Count how a message ended, which the peer is to be told, until it is saved."""
        self._untold += 1
        self.hold(0)

    def saved(self) -> None:
        """Count those endings no more."""
        untold, self._untold = self._untold, 0
        if untold:
            self.free((untold - 1) * EACH)

    def move(self, account: Account) -> None:
        """Count on another account from now on: the peer became known, or is somewhere else."""
        if account is not self._account:
            self._account.credit(self._charged)
            self._account, self._charged = account, 0
            if self.bytes:
                self._charge()

    def _charge(self) -> None:
        portions = -(-(self.bytes - self._charged) // PORTION) * PORTION
        try:
            self._account.charge(portions)
            self._charged += portions
        except ProtocolError:
            self.overloaded = self.bytes > TOLERATED

    def _credit(self) -> None:
        surplus = (self._charged - self.bytes) // PORTION * PORTION
        self._charged -= surplus
        self._account.credit(surplus)
        if self._crowded and not self.crowded:
            self._less()

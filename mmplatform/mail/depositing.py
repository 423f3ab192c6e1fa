"""Leaves sealed envelopes at the first relay of their recipient, or other carrier of mail, that keeps them."""

import asyncio
import logging
import math
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from mmplatform.contacts import Contacts
from mmplatform.delivery.letters import id_at
from mmplatform.directory.directory import Directory
from mmplatform.errors import MailDeclined, MailHeldUp, MailUncertain, MMError, ProtocolError, Unreachable
from mmplatform.identity.keys import Identity, SignId
from mmplatform.logs import short_id
from mmplatform.plugins.host import Failed
from mmplatform.plugins.mail_carrier import MailCarrier
from mmplatform.session.envelope import seal
from mmplatform.text import escaped

DEPOSIT_TIMEOUT: Final = 30.0  # seconds that the last relay has: one that is slower is as good as dead
PATIENCE: Final = 10.0  # seconds that each of the others has
HELD_UP: Final = 600.0  # seconds after which mail that was left nowhere but with relays between is left again
REMEMBERED: Final = 4096  # peers of whom it is known where mail was kept last
REASONS: Final = 64  # reasons counted apart: relays choose the words, so their number must be bounded
AVOID: Final = 60.0  # seconds in which a relay that failed is tried after the others
LONGEST_RETRY: Final = 24 * 3600.0  # seconds: relays choose when they want to be asked again
PASSED_ON: Final = (Exception, GeneratorExit, KeyboardInterrupt, SystemExit)  # raised by a carrier, as they are

log = logging.getLogger("mmplatform.mail")


class OddAnswer(MMError):
    """A carrier of mail answered what its contract does not allow; the text names its class."""


class NotMailed(Unreachable):
    """No relay took an envelope.

    ``retry``: seconds after which one of the relays wants to be asked again, 0 when none said. ``uncertain``: one of
    the relays may keep the envelope all the same.
    """

    def __init__(self, reasons: list[str], retry: float, uncertain: bool) -> None:
        super().__init__("; ".join(reasons))
        self.retry, self.uncertain = retry, uncertain


class _Tried:
    """What became of an envelope at the relays that did not take it."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.retries: list[float] = []
        self.uncertain = False
        self.held_up: tuple[str, int] | None = None  # the first relay that has a copy it cannot pass on, until when


class Depositor:
    """Seals envelopes and leaves them; ``carriers`` by the scheme of the addresses where they keep mail."""

    def __init__(
        self,
        identity: Identity,
        directory: Directory,
        contacts: Contacts,
        carriers: Mapping[str, MailCarrier],
        now: Callable[[], float],
        failed: Failed,
    ) -> None:
        self._identity, self._directory, self._contacts, self._carriers = identity, directory, contacts, carriers
        self._now, self._failed = now, failed
        self.tally: Counter[str] = Counter()  # deposited, received, and declined with the reason
        self._avoided: dict[str, float] = {}  # address -> Unix seconds until when it is tried last
        self._good: dict[SignId, str] = {}  # where mail for each peer was kept last
        self._proven: dict[str, None] = {}  # addresses that kept what they were given last
        self._told: set[str] = set()  # classes of carriers whose odd answers were reported

    def carries(self, address: str) -> bool:
        """Whether mail can be left at ``address`` from here."""
        return address.partition(":")[0] in self._carriers

    def proven(self, address: str) -> bool:
        """Whether mail that was left at ``address`` last was kept there."""
        return address in self._proven

    def relays(self, peer: SignId) -> list[str]:
        """Return the addresses where mail for ``peer`` may be left: near and lately good ones first, all in the end."""
        now = self._now()
        self._avoided = {address: until for address, until in self._avoided.items() if until > now}
        good = self._good.get(peer)
        usable = [address for address in self._directory.addresses(peer) if self.carries(address)]
        return sorted(
            usable, key=lambda each: (self._avoided.get(each, 0.0), not self._at_hand(each), each != good)
        )  # fmt: skip

    def _at_hand(self, address: str) -> bool:
        carrier = self._carriers[address.partition(":")[0]]
        try:
            return bool(carrier.at_hand(address))
        except Exception as error:  # a fault in a plugin must not stop the mail
            self._failed(error)
            return False

    async def deposit(
        self, peer: SignId, mail_id: bytes, expires: int, content: bytes, relays: Sequence[str]
    ) -> tuple[str, int]:
        """Seal ``content`` to ``peer`` and leave it at the first of ``relays`` that keeps it.

        Args:
            peer: the recipient.
            mail_id: 16 bytes; each relay has its own of it (``id_at``), and keeps the same one once.
            expires: Unix milliseconds until when the envelope should be kept.
            content: an encoded packet (docs/protocol/mail.rst).
            relays: addresses, tried one after the other, PATIENCE seconds each. One that holds the envelope up has a
                copy, and so has the next one: the recipient recognises the second.

        Returns the address of the relay and until when the relay keeps the envelope, in Unix milliseconds; of one that
        holds it up only when all others failed, and then HELD_UP seconds at most. Raises NotMailed.

        """
        if not relays:
            raise NotMailed(["no relay of it is known"], 0.0, False)
        envelope = self._seal(peer, content)
        tried = _Tried()
        for relay in relays:
            patience = PATIENCE if relay != relays[-1] else DEPOSIT_TIMEOUT
            mail = id_at(mail_id, relay), expires, envelope
            until = await self._leave_at(relay, peer, mail, patience, tried)
            if until:
                self._avoided.pop(relay, None)
                self._remember(peer, relay)
                self.tally["deposited"] += 1
                return relay, until
            text = "mail %s for %s is not kept: %s"
            log.debug(text, short_id(mail[0]), peer, escaped(tried.reasons[-1]), extra={"peer": peer})
            self._proven.pop(relay, None)
            self._avoided[relay] = self._now() + AVOID
        if tried.held_up is not None:
            self.tally["held up"] += 1
            relay, until = tried.held_up
            return relay, min(until, expires, int((self._now() + HELD_UP) * 1000))
        raise NotMailed(tried.reasons, min(filter(None, tried.retries), default=0.0), tried.uncertain)

    async def _leave_at(
        self, relay: str, peer: SignId, mail: tuple[bytes, int, bytes], patience: float, tried: "_Tried"
    ) -> int:
        """Leave an envelope, ``mail``, at one relay; return until when it is kept, 0 when it is not, and note why."""
        carrier = self._carriers[relay.partition(":")[0]]
        try:
            return self._time(carrier, await _ask(carrier, relay, peer, *mail, patience), mail[1])
        except MailHeldUp as error:
            tried.held_up = tried.held_up or (relay, error.until)
            tried.reasons.append(f"{_host(relay)}: {error}")
        except MailDeclined as error:
            tried.retries.append(self._seconds(carrier, error.retry))
            tried.reasons.append(f"{_host(relay)}: {error}")
            reason = f"declined {error.reason}"
            self.tally[reason if len(self.tally) < REASONS else "declined otherwise"] += 1
        except (MailUncertain, TimeoutError) as error:
            tried.reasons.append(f"{_host(relay)}: {str(error) or 'no answer'}")
            tried.uncertain = True
        except OddAnswer as error:
            tried.reasons.append(f"{_host(relay)}: {error}")
            tried.uncertain = True
            self._tell_once(carrier, error)
        except (Unreachable, OSError, ValueError) as error:
            tried.reasons.append(f"{_host(relay)}: {error}")
        except Exception as error:  # a fault in a plugin must not stop the mail
            tried.reasons.append(f"{_host(relay)}: {error!r}")
            self._failed(error)
        return 0

    def _remember(self, peer: SignId, relay: str) -> None:
        self._good.pop(peer, None)
        self._good[peer] = relay
        self._proven[relay] = None
        if len(self._good) > REMEMBERED:
            del self._good[next(iter(self._good))]
        if len(self._proven) > REMEMBERED:
            del self._proven[next(iter(self._proven))]

    def relays_of_sender(self, peer: SignId) -> list[str]:
        """Return the relays where acknowledgements for ``peer`` may be left. A stranger's are limited to our own
        relays: whoever writes to us must not choose where we connect to."""
        record = self._directory.own_record
        own = record.connection_info if record is not None else ()
        return [relay for relay in self.relays(peer) if relay in own or self._contacts.known(peer)]

    def forget_failures(self, peer: SignId) -> None:
        """Try the relays of ``peer`` in their order again: there is news of ``peer``."""
        for relay in self.relays(peer):
            self._avoided.pop(relay, None)

    def _time(self, carrier: MailCarrier, until: object, expires: int) -> int:
        """``until``, at most ``expires``. Raises OddAnswer when it is no time to come: what was kept until then would
        be deposited again at once, for ever."""
        if type(until) is int and (until >= expires or until > self._now() * 1000):
            return min(until, expires)
        raise OddAnswer(f"{_name(carrier)}.deposit() gave {until!r:.100}, not Unix milliseconds in the future")

    def _seconds(self, carrier: MailCarrier, retry: object) -> float:
        """``retry`` when it is a number of seconds, else 0."""
        if isinstance(retry, int | float) and not isinstance(retry, bool) and 0 <= retry < math.inf:
            return float(min(retry, LONGEST_RETRY))
        text = f"{_name(carrier)}.deposit() raised MailDeclined(retry={retry!r:.100}), not a number of seconds"
        self._tell_once(carrier, OddAnswer(text))
        return 0.0

    def _tell_once(self, carrier: MailCarrier, error: OddAnswer) -> None:
        """Report the first odd answer of a carrier: it is tried again and again, and gives the same each time."""
        if _name(carrier) not in self._told:
            self._told.add(_name(carrier))
            self._failed(error)

    def _seal(self, peer: SignId, content: bytes) -> bytes:
        record = self._directory.own_record
        if record is None:
            raise NotMailed(["the platform is not listening yet"], 0.0, False)
        info = self._directory.known(peer)
        mail_key = info.mail_key if info is not None else b""
        try:
            return seal(self._identity, record.encode(), peer, mail_key, content, secrets.token_bytes)
        except ProtocolError as error:
            raise NotMailed([str(error)], 0.0, False) from None


async def _ask(
    carrier: MailCarrier, relay: str, peer: SignId, mail_id: bytes, expires: int, envelope: bytes, patience: float
) -> object:
    """What the carrier answers. Raises what it raises; OddAnswer in place of what would end the task of the letter,
    such as a CancelledError though nobody cancelled that."""
    try:
        async with asyncio.timeout(patience):
            return await carrier.deposit(relay, peer, mail_id, expires, envelope)
    except PASSED_ON:
        raise
    except BaseException as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise
        raise OddAnswer(f"{_name(carrier)}.deposit() raised {error!r:.100}") from error


def _name(carrier: MailCarrier) -> str:
    return type(carrier).__name__


def _host(relay: str) -> str:
    return urlsplit(relay).netloc or relay

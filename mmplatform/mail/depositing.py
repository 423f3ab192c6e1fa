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
from mmplatform.directory.directory import Directory
from mmplatform.errors import MailDeclined, MailUncertain, MMError, ProtocolError, Unreachable
from mmplatform.identity.keys import Identity, SignId
from mmplatform.logs import short_id
from mmplatform.plugins.host import Failed
from mmplatform.plugins.mail_carrier import MailCarrier
from mmplatform.session.envelope import seal
from mmplatform.text import escaped

MAX_RELAYS: Final = 4  # addresses of one peer that are tried for mail
DEPOSIT_TIMEOUT: Final = 30.0  # seconds: a relay that is slower is as good as dead
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
        self._told: set[str] = set()  # classes of carriers whose odd answers were reported

    def carries(self, address: str) -> bool:
        """Whether mail can be left at ``address`` from here."""
        return address.partition(":")[0] in self._carriers

    def relays(self, peer: SignId) -> list[str]:
        """Return the addresses where mail for ``peer`` may be left, likeliest first."""
        usable = [address for address in self._directory.addresses(peer) if self.carries(address)][:MAX_RELAYS]
        now = self._now()
        self._avoided = {address: until for address, until in self._avoided.items() if until > now}
        return sorted(usable, key=lambda address: self._avoided.get(address, 0.0))

    async def deposit(
        self, peer: SignId, mail_id: bytes, expires: int, content: bytes, relays: Sequence[str]
    ) -> tuple[str, int]:
        """Seal ``content`` to ``peer`` and leave it at the first of ``relays`` that keeps it.

        Args:
            peer: the recipient.
            mail_id: 16 bytes; the same one twice is kept once.
            expires: Unix milliseconds until when the envelope should be kept.
            content: an encoded packet (docs/protocol/mail.rst).
            relays: addresses, tried one after the other, DEPOSIT_TIMEOUT seconds each.

        Returns the address of the relay and until when the relay keeps the envelope, in Unix milliseconds. Raises
        NotMailed.

        """
        if not relays:
            raise NotMailed(["no relay of it is known"], 0.0, False)
        envelope = self._seal(peer, content)
        reasons: list[str] = []
        retries: list[float] = []
        uncertain = False
        for relay in relays:
            try:
                carrier = self._carriers[relay.partition(":")[0]]
                until = self._time(carrier, await _ask(carrier, relay, peer, mail_id, expires, envelope), expires)
            except MailDeclined as error:
                reasons.append(f"{_host(relay)}: {error}")
                retries.append(self._seconds(carrier, error.retry))
                reason = f"declined {error.reason}"
                self.tally[reason if len(self.tally) < REASONS else "declined otherwise"] += 1
            except (MailUncertain, TimeoutError) as error:
                reasons.append(f"{_host(relay)}: {str(error) or 'no answer'}")
                uncertain = True
            except OddAnswer as error:
                reasons.append(f"{_host(relay)}: {error}")
                uncertain = True
                self._tell_once(carrier, error)
            except (Unreachable, OSError, ValueError) as error:
                reasons.append(f"{_host(relay)}: {error}")
            except Exception as error:  # a fault in a plugin must not stop the mail
                reasons.append(f"{_host(relay)}: {error!r}")
                self._failed(error)
            else:
                self._avoided.pop(relay, None)
                self.tally["deposited"] += 1
                return relay, until
            text = "mail %s for %s is not kept: %s"
            log.debug(text, short_id(mail_id), peer, escaped(reasons[-1]), extra={"peer": peer})
            self._avoided[relay] = self._now() + AVOID
        raise NotMailed(reasons, min(filter(None, retries), default=0.0), uncertain)

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


async def _ask(carrier: MailCarrier, relay: str, peer: SignId, mail_id: bytes, expires: int, envelope: bytes) -> object:
    """What the carrier answers. Raises what it raises; OddAnswer in place of what would end the task of the letter,
    such as a CancelledError though nobody cancelled that."""
    try:
        async with asyncio.timeout(DEPOSIT_TIMEOUT):
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

"""Leaves sealed envelopes at the relays of their recipient, or other carriers of mail: at the first that keeps them."""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from mmplatform.contacts import Contacts
from mmplatform.directory.directory import Directory
from mmplatform.errors import MailDeclined, MailUncertain, ProtocolError, Unreachable
from mmplatform.identity.keys import Identity, SignId
from mmplatform.logs import escaped, short_id
from mmplatform.plugins.host import Failed
from mmplatform.plugins.mail_carrier import MailCarrier
from mmplatform.session.envelope import seal

MAX_RELAYS: Final = 4  # of one peer
DEPOSIT_TIMEOUT: Final = 30.0  # seconds: a relay that is slower is as good as dead
REASONS: Final = 64  # that are counted apart: relays choose the words
AVOID: Final = 60.0  # seconds in which a relay that failed is tried after the others

log = logging.getLogger("mmplatform.mail")


class NotMailed(Unreachable):
    """No relay took it. ``retry``: seconds after which one of them wants to be asked again, 0 when none said.
    ``uncertain``: one of them may have it all the same."""

    def __init__(self, reasons: list[str], retry: float, uncertain: bool) -> None:
        super().__init__("; ".join(reasons))
        self.retry, self.uncertain = retry, uncertain


class Depositor:
    """``carriers`` by the scheme of the addresses where they keep mail."""

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
        self._avoided: dict[str, float] = {}  # address -> until when

    def carries(self, address: str) -> bool:
        """Whether mail can be left at ``address`` from here."""
        return address.partition(":")[0] in self._carriers

    def relays(self, peer: SignId) -> list[str]:
        """Where mail for ``peer`` may be left, likeliest first."""
        usable = [address for address in self._directory.addresses(peer) if self.carries(address)][:MAX_RELAYS]
        now = self._now()
        self._avoided = {address: until for address, until in self._avoided.items() if until > now}
        return sorted(usable, key=lambda address: self._avoided.get(address, 0.0))

    async def deposit(
        self, peer: SignId, mail_id: bytes, expires: int, content: bytes, relays: Sequence[str]
    ) -> tuple[str, int]:
        """The first of ``relays`` that keeps it, and until when in Unix milliseconds. Raises NotMailed."""
        if not relays:
            raise NotMailed(["no relay of it is known"], 0.0, False)
        envelope = self._seal(peer, content)
        reasons: list[str] = []
        retries: list[float] = []
        uncertain = False
        for relay in relays:
            try:
                carrier = self._carriers[relay.partition(":")[0]]
                async with asyncio.timeout(DEPOSIT_TIMEOUT):
                    until = await carrier.deposit(relay, peer, mail_id, expires, envelope)
            except MailDeclined as error:
                reasons.append(f"{_host(relay)}: {error}")
                retries.append(error.retry)
                reason = f"declined {error.reason}"
                self.tally[reason if len(self.tally) < REASONS else "declined otherwise"] += 1
            except (MailUncertain, TimeoutError) as error:
                reasons.append(f"{_host(relay)}: {str(error) or 'no answer'}")
                uncertain = True
            except (Unreachable, OSError, ValueError) as error:
                reasons.append(f"{_host(relay)}: {error}")
            except Exception as error:  # of a plugin: what waits for its peer goes on all the same
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
        """Where ``peer`` may be told that its mail has come. Of strangers these are our own relays only: whoever
        writes to us must not choose where we connect to."""
        record = self._directory.own_record
        own = record.connection_info if record is not None else ()
        return [relay for relay in self.relays(peer) if relay in own or self._contacts.known(peer)]

    def forget_failures(self, peer: SignId) -> None:
        """There is news of ``peer``: try its relays in their order again."""
        for relay in self.relays(peer):
            self._avoided.pop(relay, None)

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


def _host(relay: str) -> str:
    return urlsplit(relay).netloc or relay

"""Those who write and receive: they come and go, miss answers when a session is lost, and remember what they saved."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable

from mm_transports.relay.protocol.items import PEER, Declined, Deposit, Ended, Item, Mail, Noted, Stored, Taken
from tests.sim.relay_mail.office import Office, deposit, key


class Sent:
    """One envelope, as its sender knows it. ``ends`` are the numbers and states it was told, each once."""

    def __init__(self, item: Deposit, local: bool) -> None:
        self.item, self.local = item, local
        self.deposits = 0
        self.stored = False
        self.declined = ""
        self.ends: list[tuple[int, str]] = []

    @property
    def accepted(self) -> bool:
        return self.stored or bool(self.ends)


class Person:
    """``session`` is None while away; ``taking`` False: mail comes and is never acknowledged."""

    def __init__(self, name: str, home: Office, draw: random.Random) -> None:
        self.name, self.key, self.home, self.random = name, key(name), home, draw
        self.session: PersonSession | None = None
        self.taking = True
        self.sent: dict[bytes, Sent] = {}
        self.taken: dict[bytes, int] = defaultdict(int)  # envelope -> times
        self.refused: set[bytes] = set()
        self.order: dict[bytes, list[int]] = defaultdict(list)  # sender -> envelopes as they came first

    def arrive(self) -> None:
        if self.home.mailroom is None:
            return
        self.session = PersonSession(self)
        self.home.sign_in(self.session)
        for sent in self.sent.values():
            if not sent.accepted and not sent.declined:
                self._deposit(sent)

    def vanish(self, *, noticed: bool = True) -> None:
        """Not noticed: the relay still has the session when the next one comes."""
        session, self.session = self.session, None
        if session is not None:
            session.over = True
            if noticed:
                self.home.sign_out(session)

    def write(self, to: "Person", size: int, expires: float) -> None:
        via = "" if to.home is self.home else to.home.address
        item = deposit(to.name, size, expires=expires, via=via)
        sent = self.sent[item.id] = Sent(item, not via)
        if self.session is not None:
            self._deposit(sent)

    def hear(self, session: "PersonSession", item: Item) -> None:
        match item:
            case Stored(id=name):
                self.sent[name].stored = True
            case Declined(id=name, reason=reason):
                if not self.sent[name].accepted:
                    self.sent[name].declined = reason
            case Ended(number=number, id=name, state=state):
                if (number, state) not in self.sent[name].ends:
                    self.sent[name].ends.append((number, state))
                session.say(Noted(number))
            case Mail() if self.taking:
                self._take(session, item)
            case _:
                pass

    def _take(self, session: "PersonSession", mail: Mail) -> None:
        """Handled and saved first, then said."""
        number = int(mail.envelope.partition(b".")[0].rstrip(b"x") or b"0")
        if mail.envelope in self.refused or self.random.random() < 0.05:
            self.refused.add(mail.envelope)
            session.say(Taken([mail.number], refused=True))
            return
        if not self.taken[mail.envelope]:
            self.order[mail.peer].append(number)
        self.taken[mail.envelope] += 1
        session.say(Taken([mail.number]))

    def _deposit(self, sent: Sent) -> None:
        assert self.session is not None
        sent.deposits += 1
        self.session.say(sent.item)


class PersonSession:
    role = PEER
    place = b""
    address = ""
    full = False

    def __init__(self, person: Person) -> None:
        self.person, self.key = person, person.key
        self.over = False
        self._line = Delayed(person.random)

    def tell(self, item: Item) -> None:
        self._line.put(lambda: None if self.over else self.person.hear(self, item))

    def say(self, item: Item) -> None:
        self._line.put(lambda: None if self.over else self.person.home.receive(self, item))

    def end(self, reason: str, retry: float = 0.0) -> None:
        self.over = True


class Delayed:
    """What is put comes out later, in order."""

    def __init__(self, draw: random.Random) -> None:
        self._random = draw
        self._last = 0.0

    def put(self, what: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()
        self._last = max(self._last + 1e-6, loop.time() + self._random.random() * 0.1)
        loop.call_at(self._last, what)

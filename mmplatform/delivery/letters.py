"""Knows which messages for one peer are at relays: in letters, each one envelope of consecutive messages of a stream.

A letter is on disk before its envelope leaves. After a restart, letters that are not known to be stored are deposited
again under the same id, which a relay keeps once. A letter is forgotten when its messages are settled, and dropped when
the relay did not keep it: its messages are then put into new letters.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from typing import Final

from mmplatform.codec import Decoder, Struct, encode
from mmplatform.delivery.wire import Integer, Lane
from mmplatform.errors import CodecError
from mmplatform.identity.keys import digest
from mmplatform.storage.contract import Row

PREFIX: Final = b"letter/"
ID_SIZE: Final = 16
MAX_LETTERS: Final = 4096  # letters of one peer; more mail waits until some is acknowledged

PLANNED: Final = 0  # no relay has the letter
TOLD: Final = 1  # a relay may have the letter
RELAYED: Final = 2  # the letter is on the disk of a relay
ENDED: Final = 3  # the relay no longer has the letter, and says whether the peer took it

FIRST_PATIENCE: Final = 30.0  # seconds in which a letter that the peer took should be acknowledged
LONGEST_PATIENCE: Final = 3600.0


def id_at(letter: bytes, relay: str) -> bytes:
    """Return the id under which a letter is left at ``relay``: copies for several relays may wait at one on the way."""
    return digest("mm/1 mail at", letter, relay.encode())[:ID_SIZE]


class Letter(Struct, array_like=True):
    """One letter: the messages ``first`` to ``last`` of a stream, its state, and the address of its relay.

    ``until``, in Unix milliseconds: when to ask the relay whether it has the letter; for a letter that ended, when to
    mail its messages again.
    """

    id: bytes
    lane: Lane
    epoch: Integer
    first: Integer
    last: Integer
    state: Integer = PLANNED
    until: Integer = 0
    relay: str = ""


_letters = Decoder(Letter, 4096)


class Letters:
    """The letters of one peer. ``save`` writes a row without waiting; ``random`` is drawn for each id."""

    def __init__(self, peer: str, save: Callable[[Row], None], random: Callable[[int], bytes]) -> None:
        self._peer, self._save, self._random = peer, save, random
        self._by_id: dict[bytes, Letter] = {}
        self._left: dict[bytes, Letter] = {}  # by the id at the relay
        self._streams: dict[tuple[int, int], list[Letter]] = {}  # in order; none overlaps another
        self._patience = FIRST_PATIENCE
        self.drops = 0  # letters dropped so far; after each, the next message to mail must be looked up again

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Letter]:
        return iter(list(self._by_id.values()))

    @property
    def full(self) -> bool:
        """Whether no further letter may be planned."""
        return len(self._by_id) >= MAX_LETTERS

    def restore(self, value: bytes) -> Letter:
        """Take up a letter as an earlier run saved it. Raises CodecError."""
        letter = _letters.decode(value)
        if self._gap_is_less(letter):
            raise CodecError("two letters hold the same message")
        self._add(letter)
        return letter

    def find(self, mail_id: bytes) -> Letter | None:
        """Return the letter with this id of 16 bytes, or None."""
        return self._by_id.get(mail_id)

    def find_left(self, mail_id: bytes) -> Letter | None:
        """Return the letter that was left under this id at the relay that keeps it, or None."""
        return self._left.get(mail_id)

    def state(self, lane: int, epoch: int, seq: int) -> int:
        """Return the state of the letter with this message, PLANNED when there is none."""
        if not self._by_id:
            return PLANNED
        letters = self._streams.get((lane, epoch), [])
        place = bisect_left(letters, seq, key=_last)
        return letters[place].state if place < len(letters) and letters[place].first <= seq else PLANNED

    def gap(self, lane: int, epoch: int, first: int, last: int) -> tuple[int, int] | None:
        """Return the first range of numbers between ``first`` and ``last`` that are in no letter, None when all are."""
        if first > last:
            return None
        letters = self._streams.get((lane, epoch), [])
        for place in range(bisect_left(letters, first, key=_last), len(letters)):
            if letters[place].first > first:
                return first, min(last, letters[place].first - 1)
            first = letters[place].last + 1
            if first > last:
                return None
        return first, last

    def others(self, lane: int, epoch: int) -> list[Letter]:
        """Return the letters with messages that other runs put in the lane."""
        streams = [letters for at, letters in self._streams.items() if at[0] == lane and at[1] != epoch]
        return [letter for letters in streams for letter in letters]

    def plan(self, lane: int, epoch: int, first: int, last: int) -> Letter:
        """Make a letter of the messages ``first`` to ``last``, under a random id that tells a relay nothing."""
        letter = Letter(self._random(ID_SIZE), lane, epoch, first, last)
        self._add(letter)
        return letter

    def put(self, letter: Letter, state: int, until: int = 0, relay: str = "") -> None:
        """Save the state of a letter; ``until`` in Unix milliseconds."""
        self._forget_left(letter)
        letter.state, letter.until, letter.relay = state, until, relay or letter.relay
        if letter.id in self._by_id:
            self._note_left(letter)
            self._save((self._key(letter), encode(letter)))

    def drop(self, letter: Letter) -> None:
        """Forget a letter that no relay keeps; its messages go into other letters, unless they are settled before."""
        if self._by_id.pop(letter.id, None) is None:
            return
        self._forget_left(letter)
        stream = self._streams[letter.lane, letter.epoch]
        stream.remove(letter)
        if not stream:
            del self._streams[letter.lane, letter.epoch]
        self.drops += 1
        self._save((self._key(letter), None))

    def settle(self, lane: int, epoch: int, base: int) -> None:
        """Forget the letters of a stream whose messages are all below ``base``, which are settled."""
        self._patience = FIRST_PATIENCE
        stream = self._streams.get((lane, epoch), [])
        settled = [letter for letter in stream if letter.last < base]
        for letter in settled:
            del self._by_id[letter.id]
            self._forget_left(letter)
            self._save((self._key(letter), None))
        if len(settled) == len(stream):
            self._streams.pop((lane, epoch), None)
        else:
            del stream[: len(settled)]

    def patience(self) -> float:
        """Return the seconds until an ended, unacknowledged letter is mailed again: twice as many each time."""
        patience, self._patience = self._patience, min(self._patience * 2, LONGEST_PATIENCE)
        return patience

    def _gap_is_less(self, letter: Letter) -> bool:
        bounds = letter.first, letter.last
        return letter.first > letter.last or self.gap(letter.lane, letter.epoch, *bounds) != bounds

    def _note_left(self, letter: Letter) -> None:
        if letter.relay:
            self._left[id_at(letter.id, letter.relay)] = letter

    def _forget_left(self, letter: Letter) -> None:
        if letter.relay:
            self._left.pop(id_at(letter.id, letter.relay), None)

    def _add(self, letter: Letter) -> None:
        self._by_id[letter.id] = letter
        self._note_left(letter)
        insort(self._streams.setdefault((letter.lane, letter.epoch), []), letter, key=_last)

    def _key(self, letter: Letter) -> bytes:
        return PREFIX + self._peer.encode() + letter.id


def peer_of(key: bytes) -> str:
    """Return the signId of the peer whose letter is kept under ``key``."""
    return key[len(PREFIX) : -ID_SIZE].decode("ascii", "replace")


def _last(letter: Letter) -> int:
    return letter.last

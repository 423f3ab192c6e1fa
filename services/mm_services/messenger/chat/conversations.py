"""All conversations of a node: what was said in them, how far our lines are, and how much is unread."""

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from mm_services.messenger.chat import lines
from mm_services.messenger.chat.conversation import Conversation, key_of
from mm_services.messenger.chat.history import HistoryFile, MemoryLines
from mm_services.messenger.chat.lines import NOTE, OURS, STATES, ChatLine, LineState
from mm_services.messenger.chat.talk import EVERYBODY
from mmplatform.errors import StorageError
from mmplatform.identity.keys import SignId

MAX_CONVERSATIONS: Final = (
    512  # that strangers can begin; what comes in others goes into OTHERS. Those known: four times
)
OTHERS: Final = "others"
MAX_UNDER_WAY: Final = 2000  # lines of ours whose way is followed, the latest
REMEMBERED: Final = 4096  # ids of lines that came, by which one that comes again is known


class _UnderWay:
    """A line of ours that not all have read yet."""

    __slots__ = ("conversation", "number", "states")

    def __init__(self, conversation: Conversation, number: int) -> None:
        self.conversation, self.number = conversation, number
        self.states: dict[str, LineState] = {}  # at each of several members that has it

    def told(self, peer: str, state: LineState) -> LineState:
        """Return how far the line is as a whole, now that it is as far as ``state`` at ``peer``; "" for all of them."""
        members = self.conversation.members
        if len(members) <= 1 or not peer or state <= LineState.CARRIED:
            return state
        if peer in members:
            self.states[peer] = max(state, self.states.get(peer, state))
        return min(self.states.get(member, LineState.WAITING) for member in members)


class Conversations:
    """Keeps lines in ``history``, or in memory alone where there is none."""

    def __init__(self, history: HistoryFile | None = None) -> None:
        self._history, self._memory = history, MemoryLines()
        self.by_key = {EVERYBODY: Conversation(EVERYBODY, ())}
        self._under_way: OrderedDict[str, _UnderWay] = OrderedDict()  # by the id of the message
        self._ids: OrderedDict[str, None] = OrderedDict()

    # Who talks.

    def with_(self, members: Collection[SignId]) -> Conversation:
        """Return the conversation with ``members``, us left out; with nobody it is the one with everybody."""
        key = key_of(members)
        if key not in self.by_key:
            self.by_key[key] = Conversation(key, tuple(sorted(members)))
            if len(members) > 1:
                self._note_down(lines.record({"group": key, "members": sorted(members)}))
        return self.by_key[key]

    def of_message(self, own: SignId, sender: SignId, recipients: Collection[SignId], known: bool) -> Conversation:
        """Return the conversation that a message belongs to.

        Args:
            own: our signId.
            sender: who sent it; others cannot begin very many conversations, those who are known here some more.
            recipients: whom it is for, nobody for everybody.
            known: whether ``sender`` is known here.

        """
        if not recipients:
            return self.by_key[EVERYBODY]
        members = {sender, *recipients} - {own}
        if key_of(members) not in self.by_key and len(self.by_key) >= MAX_CONVERSATIONS * (4 if known else 1):
            return self.by_key.setdefault(OTHERS, Conversation(OTHERS, ()))
        return self.with_(members)

    # What is said.

    def has(self, message_id: str) -> bool:
        """Whether the line that came as the message ``message_id`` is here already."""
        return message_id in self._ids

    def hear(self, conversation: Conversation, line: ChatLine, now: float) -> int:
        """Keep a line of somebody else; return its number. Raises StorageError."""
        number = self._add(conversation, line, LineState.HEARD)
        conversation.unread += 1
        conversation.heard_at = now
        self._remember(line.id)
        return number

    def say(self, conversation: Conversation, text: str, now: float) -> int:
        """Keep a line of ours, which nobody has yet; return its number. Raises StorageError."""
        return self._add(conversation, ChatLine(now, OURS, text), LineState.UNSAVED)

    def note(self, conversation: Conversation, text: str, now: float) -> None:
        """Show a line of the chat itself, which is kept in memory alone."""
        record = lines.line_record(conversation.key, ChatLine(now, NOTE, text))
        conversation.add(self._memory.append(record), LineState.HEARD)

    def seen(self, conversation: Conversation) -> None:
        """Count nothing as unread that was said until now."""
        conversation.unread = 0
        self._note_down(lines.record({"seen": conversation.key}))

    # How far it is.

    def sent(self, conversation: Conversation, number: int, message_id: str) -> None:
        """Follow the way of a line of ours, which is this message: :meth:`moved` tells of it from now on."""
        self._follow(message_id, conversation, number)
        self.moved(message_id, "", LineState.WAITING)

    def refused(self, conversation: Conversation, number: int) -> None:
        """Have a line of ours that cannot be sent."""
        if conversation.further(number, LineState.REFUSED):
            self._keep_state(conversation, number, LineState.REFUSED)

    def moved(self, message_id: str, peer: str, state: LineState) -> tuple[Conversation, int] | None:
        """Let a message be as far as ``state`` at ``peer``, "" for all; return the line that is further now."""
        line = self._under_way.get(message_id)
        if line is None:
            return None
        further = self._move(message_id, line, peer, state)
        if further or (peer in line.states and line.states[peer] == state):
            self._keep_state(line.conversation, line.number, state, message_id, peer if line.states else "")
        return (line.conversation, line.number) if further else None

    def under_way(self) -> list[str]:
        """Return the ids of the messages whose way is followed."""
        return list(self._under_way)

    # What is shown.

    def line(self, conversation: Conversation, number: int) -> ChatLine | None:
        """Return a line; None for one that is not there any more."""
        if not conversation.first <= number < conversation.end:
            return None
        data = self._read(conversation.place(number))
        fields = None if data is None else lines.parsed(data)
        return None if fields is None else lines.line_of(fields)

    def trim(self, conversation: Conversation) -> None:
        """Forget the lines at the beginning that are not kept any more."""
        conversation.trim(lambda place: self._read(place) is not None)

    def search(self, conversation: Conversation, text: str, before: int) -> Iterator[int | None]:
        """Give the number of each line before ``before`` that has ``text`` in it, the latest first, and None now and
        then between them: who asks may do something else meanwhile."""
        wanted = text.casefold()
        for number in range(before - 1, conversation.first - 1, -1):
            line = self.line(conversation, number)
            if line is not None and line.by != NOTE and wanted in line.text.casefold():
                yield number
            elif number % 500 == 0:
                yield None

    async def saved(self) -> None:
        """Wait until all that was said is on the disk, where it is kept. Raises StorageError."""
        if self._history is not None:
            await self._history.saved()

    # What was kept.

    def load(self) -> None:
        """Take up what the history has. In a thread of its own, before anything else is done here."""
        history, self._history = self._history, None  # nothing that is taken up is kept again
        for place, data in history.records() if history is not None else ():
            fields = lines.parsed(data)
            if fields is not None:
                self._take_up(place, fields)
        self._history = history

    def _take_up(self, place: int, fields: Mapping[str, Any]) -> None:
        key = fields.get("in")
        if isinstance(key, str):
            conversation = self.by_key.get(key)
            if conversation is None:  # a group whose record is damaged is of nobody: nothing can be sent there
                members = () if key == OTHERS or key.startswith("#") else (SignId(key),)
                conversation = self.by_key[key] = Conversation(key, members)
            if "state" in fields:
                self._take_up_state(conversation, place, fields)
            elif "text" in fields:
                heard = bool(fields.get("by"))
                conversation.add(place, LineState.HEARD if heard else LineState.UNSAVED)
                if heard:
                    conversation.unread += 1
                    self._remember(str(fields.get("id")))
        elif "group" in fields:
            self.with_(lines.members_of(fields))
        elif (seen := self.by_key.get(str(fields.get("seen")))) is not None:
            seen.unread = 0

    def _take_up_state(self, conversation: Conversation, place: int, fields: Mapping[str, Any]) -> None:
        state, back = STATES.get(str(fields["state"])), fields.get("back")
        number = conversation.at(place - back) if isinstance(back, int) else None
        if number is None or state is None:
            return
        id_ = str(fields.get("id", ""))
        if id_ and id_ not in self._under_way:
            self._follow(id_, conversation, number)
        if id_:
            self._move(id_, self._under_way[id_], str(fields.get("peer", "")), state)
        else:
            conversation.further(number, state)

    # Helpers.

    def _add(self, conversation: Conversation, line: ChatLine, state: LineState) -> int:
        record = lines.line_record(conversation.key, line)
        store = self._history if self._history is not None else self._memory
        return conversation.add(store.append(record), state)

    def _read(self, place: int) -> bytes | None:
        if place < 0:
            return self._memory.read(place)
        return self._history.read(place) if self._history is not None else None

    def _remember(self, message_id: str) -> None:
        self._ids[message_id] = None
        if len(self._ids) > REMEMBERED:
            self._ids.popitem(last=False)

    def _follow(self, message_id: str, conversation: Conversation, number: int) -> None:
        self._under_way[message_id] = _UnderWay(conversation, number)
        if len(self._under_way) > MAX_UNDER_WAY:
            self._under_way.popitem(last=False)

    def _move(self, message_id: str, line: _UnderWay, peer: str, state: LineState) -> bool:
        whole = line.told(peer, state)
        if whole == LineState.READ:
            self._under_way.pop(message_id, None)
        return line.conversation.further(line.number, whole)

    def _keep_state(
        self,
        conversation: Conversation,
        number: int,
        state: LineState,
        message_id: str = "",
        peer: str = "",
    ) -> None:
        place = conversation.place(number)
        if self._history is not None and place >= 0:
            back = self._history.end - place
            self._note_down(lines.state_record(conversation.key, back, state, message_id=message_id, peer=peer))

    def _note_down(self, record: bytes) -> None:
        """Keep what the chat can do without: a disk that is full takes nothing away but how far lines were."""
        if self._history is not None:
            with suppress(StorageError):
                self._history.append(record)
